/* DPDK's software DMA device, dma_skeleton, as a peer: a closed loop of copies in bursts, measured on demand.
 *
 * One line in: BYTES PAIRS DEPTH BURST WARM OPERATIONS. One line out: ticks of the time-stamp counter from the end of the last
 * warming operation to the end of the last measured one, CPU nanoseconds of the submitting thread and of all others between
 * the two, CPU nanoseconds of the process so far, and the operations with those that do not count. The first line out says that
 * it is ready. The ticks that each measured operation took are left behind the buffers.
 *
 * Arguments after DPDK's: the file with the buffers, and the bytes of all sources in it; as many destinations follow, and then
 * the room for the latencies. Operation n copies pair n modulo PAIRS.
 *
 * cc -O2 skeleton.c $(pkg-config --cflags --libs libdpdk) -lrte_dma_skeleton
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <rte_dmadev.h>
#include <rte_eal.h>

#define RING 1024
#define LATENCIES (1ul << 18)

static void fail(const char *what) {
    fprintf(stderr, "skeleton: %s\n", what);
    exit(1);
}

static uint64_t cpu(clockid_t clock) {
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

/* The clocks of the other threads. The process's own clock is behind by milliseconds while they run. */
#define THREADS 32
static clockid_t others[THREADS];
static int other_count;

static void find_others(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL) fail("the threads cannot be listed");
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL && other_count < THREADS;) {
        int thread = atoi(entry->d_name);
        /* How the system numbers the clock of a thread: see pthread_getcpuclockid. */
        if (thread > 0 && thread != getpid()) others[other_count++] = (clockid_t)(~(unsigned)thread << 3 | 6);
    }
    closedir(tasks);
}

struct moment {
    uint64_t ticks, thread, others;
};

static struct moment look(void) {
    struct moment m = {0, cpu(CLOCK_THREAD_CPUTIME_ID), 0};
    for (int i = 0; i < other_count; i++) m.others += cpu(others[i]);
    m.ticks = __rdtsc();
    return m;
}

int main(int argc, char **argv) {
    int taken = rte_eal_init(argc, argv);
    if (taken < 0) fail("DPDK cannot be initialised");
    if (taken + 2 >= argc) fail("the file with the buffers and its size are missing");
    int16_t device = rte_dma_next_dev(0);
    if (device < 0) fail("no DMA device");
    struct rte_dma_conf conf = {.nb_vchans = 1};
    struct rte_dma_vchan_conf channel = {.direction = RTE_DMA_DIR_MEM_TO_MEM, .nb_desc = RING};
    if (rte_dma_configure(device, &conf) || rte_dma_vchan_setup(device, 0, &channel) || rte_dma_start(device))
        fail("the DMA device cannot be started");

    size_t room = strtoul(argv[taken + 2], NULL, 10);
    int file = open(argv[taken + 1], O_RDWR);
    size_t all = 2 * room + LATENCIES * sizeof(uint32_t);
    char *source = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    if (file < 0 || source == MAP_FAILED) fail("the file with the buffers cannot be mapped");
    char *target = source + room;
    uint32_t *latencies = (uint32_t *)(source + 2 * room);
    static uint64_t begun[RING];
    find_others();
    puts("ready");
    fflush(stdout);

    unsigned long size, pairs, depth, burst, warm, operations;
    while (scanf("%lu %lu %lu %lu %lu %lu", &size, &pairs, &depth, &burst, &warm, &operations) == 6) {
        if (size * pairs > room || burst == 0 || burst > depth || depth > RING / 2 || warm == 0 || operations == 0 ||
            operations > LATENCIES)
            fail("a number is out of range");
        unsigned long sent = 0, done = 0, last = warm + operations;
        struct moment from = {0, 0, 0}, until = {0, 0, 0};
        while (done < last || done < sent) {
            /* The pipe is full until the last one that counts has ended. */
            while (done < last && sent - done + burst <= depth) {
                for (unsigned long i = 0; i < burst; i++, sent++) {
                    size_t at = sent % pairs * size;
                    begun[sent % RING] = __rdtsc();
                    if (rte_dma_copy(device, 0, (rte_iova_t)(source + at), (rte_iova_t)(target + at), size, 0) < 0)
                        fail("a copy was refused");
                }
                rte_dma_submit(device, 0);
            }
            uint16_t index;
            bool error = false;
            uint16_t ended = rte_dma_completed(device, 0, burst, &index, &error);
            if (error) fail("a copy failed");
            if (ended == 0) continue;
            uint64_t now = __rdtsc();
            for (uint16_t i = 0; i < ended; i++) {
                if (done >= warm && done < last) {
                    uint64_t ticks = now - begun[done % RING];
                    latencies[done - warm] = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
                }
                done++;
                if (done == warm) from = look();
                if (done == last) until = look();
            }
        }
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %lu\n", until.ticks - from.ticks,
               until.thread - from.thread, until.others - from.others, cpu(CLOCK_PROCESS_CPUTIME_ID), done);
        fflush(stdout);
    }
    return rte_dma_stop(device) ? 1 : 0;
}
