/* Intel's Data Mover Library, its software path, as a peer of the CPU engine: one job object, initialised once, which is its
 * best case. `dml.rs` compiles and loads this file, so that the layout of a job is that of the installed header.
 *
 * Every operation has the same arguments, of which it uses what it needs: the source, the other region, room for a delta record
 * (10 bytes for each 8 of the source, and 80 at least), the bytes of the source, and where the result goes. Each returns the
 * library's status: 0 is success. There is one job: one thread at a time.
 *
 * cc -O2 -shared -fPIC dml.c -ldml
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <dml/dml.h>

/* The result of a comparison that finds no difference. */
#define EQUAL UINT64_MAX
/* Data bytes of a block with a data-integrity field behind it, and bytes of the field. */
#define BLOCK 512
#define FIELD 8
/* Bytes of an entry of a delta record, and of the smallest room for one that the library takes. */
#define ENTRY 10
#define LEAST_RECORD 80

/* What an operation leaves unset is from `dsa_dml_open` or not looked at: no flags, no seed, all tags and masks 0. */
static dml_job_t *job;
static uint32_t crc;

/* Makes the job. It lasts as long as the process. The pattern is that of fills and comparisons, its first byte the lowest. */
uint32_t dsa_dml_open(uint64_t pattern) {
    uint32_t bytes = 0;
    dml_status_t status = dml_get_job_size(DML_PATH_SW, &bytes);
    if (status != DML_STATUS_OK) return status;
    dml_job_t *made = malloc(bytes);
    if (made == NULL) return DML_STATUS_INTERNAL_ERROR;
    status = dml_init_job(DML_PATH_SW, made);
    if (status != DML_STATUS_OK) {
        free(made);
        return status;
    }
    memcpy(made->pattern, &pattern, sizeof made->pattern);
    made->crc_checksum_ptr = &crc;
    made->dif_config.block_size = DML_DIF_BLOCK_SIZE_512;
    job = made;
    return DML_STATUS_OK;
}

static uint32_t execute(dml_operation_t operation) {
    job->operation = operation;
    return dml_execute_job(job, DML_WAIT_MODE_BUSY_POLL);
}

/* Both lengths: an operation looks at the one that it knows. */
static void set(uint8_t *source, uint8_t *target, uint32_t source_bytes, uint32_t target_bytes) {
    job->source_first_ptr = source;
    job->destination_first_ptr = target;
    job->source_length = source_bytes;
    job->destination_length = target_bytes;
}

/* Where the first difference is, as far as the library says. */
static uint64_t difference(void) {
    return job->result == 0 ? EQUAL : job->offset;
}

uint32_t dsa_dml_copy(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    (void)record;
    set(source, target, bytes, bytes);
    *result = 0;
    return execute(DML_OP_MEM_MOVE);
}

uint32_t dsa_dml_fill(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    (void)source, (void)record;
    set(NULL, target, 0, bytes);
    *result = 0;
    return execute(DML_OP_FILL);
}

uint32_t dsa_dml_crc32c(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    (void)target, (void)record;
    set(source, NULL, bytes, 0);
    uint32_t status = execute(DML_OP_CRC);
    *result = crc;
    return status;
}

uint32_t dsa_dml_copy_crc32c(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    (void)record;
    set(source, target, bytes, bytes);
    uint32_t status = execute(DML_OP_COPY_CRC);
    *result = crc;
    return status;
}

uint32_t dsa_dml_compare(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    (void)record;
    set(source, NULL, bytes, 0);
    job->source_second_ptr = target;
    uint32_t status = execute(DML_OP_COMPARE);
    *result = difference();
    return status;
}

uint32_t dsa_dml_compare_pattern(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    (void)target, (void)record;
    set(source, NULL, bytes, 0);
    uint32_t status = execute(DML_OP_COMPARE_PATTERN);
    *result = difference();
    return status;
}

/* The result is the bytes of the record, which come back where the room for it was given. */
uint32_t dsa_dml_delta(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    uint32_t room = bytes / 8 * ENTRY;
    set(source, record, bytes, room < LEAST_RECORD ? LEAST_RECORD : room);
    job->source_second_ptr = target;
    uint32_t status = execute(DML_OP_DELTA_CREATE);
    *result = job->destination_length;
    return status;
}

/* The result is the number of blocks. */
uint32_t dsa_dml_dif_insert(uint8_t *source, uint8_t *target, uint8_t *record, uint32_t bytes, uint64_t *result) {
    (void)record;
    *result = bytes / BLOCK;
    set(source, target, bytes, bytes / BLOCK * (BLOCK + FIELD));
    return execute(DML_OP_DIF_INSERT);
}
