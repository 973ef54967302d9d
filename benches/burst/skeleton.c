/* DPDK's software DMA device, dma_skeleton, as a peer of the software model: copies in bursts, measured on demand.
 *
 * One line in: BYTES BURST OPERATIONS. One line out: nanoseconds per operation. The first line out says that it is ready.
 * The submitter runs on the first core of the list given to DPDK, the device's thread on the second. Source and
 * destination rotate through 64 pairs in a file that is mapped, whose name is the argument after DPDK's: the model's side copies
 * between the very same pages.
 *
 * cc -O2 skeleton.c $(pkg-config --cflags --libs libdpdk) -lrte_dma_skeleton
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <rte_dmadev.h>
#include <rte_eal.h>
#include <rte_lcore.h>

#define PAIRS 64
#define RING 1024

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "skeleton: %s\n", what);
    exit(1);
}

int main(int argc, char **argv) {
    int taken = rte_eal_init(argc, argv);
    if (taken < 0) fail("DPDK cannot be initialised");
    if (taken + 1 >= argc) fail("the name of the file with the buffers is missing");
    int16_t device = rte_dma_next_dev(0);
    if (device < 0) fail("no DMA device");
    struct rte_dma_conf conf = {.nb_vchans = 1};
    struct rte_dma_vchan_conf channel = {.direction = RTE_DMA_DIR_MEM_TO_MEM, .nb_desc = RING};
    if (rte_dma_configure(device, &conf) || rte_dma_vchan_setup(device, 0, &channel) || rte_dma_start(device))
        fail("the DMA device cannot be started");

    size_t room = (size_t)PAIRS * (64 << 10);
    int file = open(argv[taken + 1], O_RDWR);
    char *source = mmap(NULL, 2 * room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    if (file < 0 || source == MAP_FAILED) fail("the file with the buffers cannot be mapped");
    char *target = source + room;
    puts("ready");
    fflush(stdout);

    unsigned long size, burst, operations;
    while (scanf("%lu %lu %lu", &size, &burst, &operations) == 3) {
        if (size == 0 || size > 64 << 10 || burst == 0 || burst > RING / 2) fail("a number is out of range");
        uint64_t begun = now();
        unsigned long sent = 0, done = 0;
        while (done < operations) {
            /* Two bursts in flight at most, so that the device always has one. */
            if (sent < operations && sent - done <= burst) {
                for (unsigned long i = 0; i < burst && sent < operations; i++, sent++) {
                    size_t at = sent % PAIRS * size;
                    if (rte_dma_copy(device, 0, (rte_iova_t)(source + at), (rte_iova_t)(target + at), size, 0) < 0)
                        fail("a copy was refused");
                }
                rte_dma_submit(device, 0);
            }
            uint16_t last;
            bool error = false;
            done += rte_dma_completed(device, 0, burst, &last, &error);
            if (error) fail("a copy failed");
        }
        printf("%.2f\n", (double)(now() - begun) / operations);
        fflush(stdout);
        if (memcmp(source, target, (operations < PAIRS ? operations : PAIRS) * size)) fail("the bytes differ");
    }
    return rte_dma_stop(device) ? 1 : 0;
}
