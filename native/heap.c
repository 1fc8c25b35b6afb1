/* One heap for all threads. glibc gives threads heaps of their own, up to eight for each core, and what is free in one is
 * of no use to another: with 5 MiB in use the service held up to 12, and more with each round of faults; with one heap it
 * stays where it is after its first minute (docs/benchmarks.md). Small blocks are kept by each thread anyway, so the one
 * heap is rarely waited for.
 */
#include <malloc.h>

#ifdef __GLIBC__
__attribute__((constructor)) static void one_heap(void)
{
    mallopt(M_ARENA_MAX, 1);
}
#endif
