// Marks of functions and constants that run on a CUDA device too; nothing for other compilers.
#ifndef BSBN_DEVICE_H
#define BSBN_DEVICE_H

#if defined(__CUDACC__)
#define BSBN_DEVICE __device__
#else
#define BSBN_DEVICE
#endif

#endif  // BSBN_DEVICE_H
