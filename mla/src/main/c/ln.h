/* The natural logarithm, which the C library of no platform has to be trusted with. */
#ifndef OCTET_LN_H
#define OCTET_LN_H

#include <stdint.h>
#include <string.h>

/** ln x for a positive number: 2 artanh of (m - 1) / (m + 1), with m between sqrt(1/2) and sqrt(2). */
static inline double ln(double x) {
    int64_t bits;
    memcpy(&bits, &x, 8);
    int64_t e = ((bits - 0x3fe6a09e667f3bcd) >> 52);
    bits -= e << 52;
    double m;
    memcpy(&m, &bits, 8);
    double s = (m - 1) / (m + 1), t = s * s, y = 0;
    for (int i = 21; i >= 1; i -= 2) {
        y = y * t + 1.0 / i;
    }
    return 2 * s * y + (double)e * 0.693147180559945309417;
}

#endif
