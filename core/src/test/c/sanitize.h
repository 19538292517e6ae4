/*
 * What the modules' src/test/c/sanitize.c have in common: random numbers, memory without a byte to spare, and the program
 * itself, which core/src/main/native/sanitize.sh builds and runs.
 *
 *   sanitize [ROUNDS] [SETS]     instruction sets as bits of octet_cpu_sets(), all that are there unless told otherwise
 */
#ifndef OCTET_SANITIZE_H
#define OCTET_SANITIZE_H

#include <stdio.h>
#include <stdlib.h>

#include "octet.h"

/* The module's own: one random problem for each kernel of these instruction sets. */
static void one_round(int32_t sets);

static uint64_t state;

static inline uint32_t next(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static inline int64_t below(int64_t n) {
    return next() % n;
}

static inline int64_t up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

static inline void *exactly(int64_t bytes) {
    void *p = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (!p) {
        exit(2);
    }
    return p;
}

/* Aligned to 64, and as many bytes up to a multiple of it. */
static inline void *aligned(int64_t bytes) {
    void *p = aligned_alloc(64, (size_t)up(bytes > 0 ? bytes : 1, 64));
    if (!p) {
        exit(2);
    }
    return p;
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 300;
    int32_t sets = argc > 2 ? atoi(argv[2]) & octet_cpu_sets() : octet_cpu_sets();
    for (long i = 0; i < rounds; i++) {
        state = (uint64_t)i;
        next();
        one_round(sets);
    }
    printf("%ld rounds, instruction sets %d: no fault\n", rounds, (int)sets);
    return 0;
}

#endif
