/* Preloaded into a process: its calendar clock jumps a day back when the file that SYMPHONY_TEST_JUMP names has one byte,
 * and a day ahead when it has two. Other clocks are the machine's. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
    int outcome = (int)syscall(SYS_clock_gettime, clock, at);
    const char *file = getenv("SYMPHONY_TEST_JUMP");
    struct stat seen;
    if (outcome == 0 && clock == CLOCK_REALTIME && file != NULL && stat(file, &seen) == 0) {
        at->tv_sec += seen.st_size == 1 ? -86400 : seen.st_size == 2 ? 86400 : 0;
    }
    return outcome;
}
