// Marks of functions and constants that run on a CUDA device too, nothing for other compilers; and a
// square root for both.
#ifndef BSBN_DEVICE_H
#define BSBN_DEVICE_H

#if defined(__CUDACC__)
#define BSBN_DEVICE __device__
#define BSBN_SQRT sqrt
#else
#define BSBN_DEVICE
#define BSBN_SQRT __builtin_sqrt
#endif

#endif  // BSBN_DEVICE_H
