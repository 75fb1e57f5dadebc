// What CUDA brings, for a C++ compiler: the kernels' text runs on the host, thread after thread. Where a kernel has barriers, each
// thread of a block is a context of its own (ucontext), which gives the next one its turn when it comes to a barrier; or, with
// REAL_THREADS, a thread of the system, for sanitizers.
#include <cstddef>
#include <functional>
#include <pthread.h>
#include <thread>
#include <ucontext.h>
#include <vector>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

struct Index { unsigned int x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) ushort4 { unsigned short x, y, z, w; };
struct alignas(16) uint4 { unsigned int x, y, z, w; };
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

#define __device__
#define __global__
#define SHARED_FLOAT4(name) float4 *name = (float4 *)shim::shared.data()
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }

namespace shim {
#ifdef REAL_THREADS
static std::vector<char> shared;
#else
static thread_local std::vector<char> shared;
#endif
static thread_local const std::function<void()> *body;
static thread_local ucontext_t main_context;
static thread_local std::vector<ucontext_t> contexts;
static thread_local std::vector<bool> over;
static thread_local size_t current;
const size_t STACK_BYTES = 32 * 1024;

static Index thread_at(size_t t)
{
    return {(unsigned)(t % blockDim.x), (unsigned)(t / blockDim.x % blockDim.y), (unsigned)(t / blockDim.x / blockDim.y)};
}

#ifdef REAL_THREADS
static pthread_barrier_t barrier;

static void block_with_barriers(size_t n_threads)
{
    pthread_barrier_init(&barrier, nullptr, (unsigned)n_threads);
    const Index block = blockIdx, threads = blockDim, grid = gridDim;
    const std::function<void()> *kernel = body;
    std::vector<std::thread> all;
    for (size_t t = 0; t < n_threads; t++)
        all.emplace_back([=] {
            blockIdx = block, blockDim = threads, gridDim = grid;
            threadIdx = thread_at(t);
            (*kernel)();
        });
    for (std::thread &thread : all)
        thread.join();
    pthread_barrier_destroy(&barrier);
}
#else
static void entry()
{
    (*body)();
    over[current] = true;
    swapcontext(&contexts[current], &main_context);
}

static void block_with_barriers(size_t n_threads)
{
    static thread_local std::vector<char> stacks;
    stacks.resize(n_threads * STACK_BYTES);
    contexts.resize(n_threads);
    over.assign(n_threads, false);
    for (size_t t = 0; t < n_threads; t++) {
        getcontext(&contexts[t]);
        contexts[t].uc_stack.ss_sp = &stacks[t * STACK_BYTES];
        contexts[t].uc_stack.ss_size = STACK_BYTES;
        contexts[t].uc_link = &main_context;
        makecontext(&contexts[t], entry, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (current = 0; current < n_threads; current++) {
            if (over[current])
                continue;
            threadIdx = thread_at(current);
            swapcontext(&main_context, &contexts[current]);
            any = any || !over[current];
        }
    }
}
#endif

static void launch(const unsigned int *dims, size_t shared_bytes, bool barriers, const std::function<void()> &kernel)
{
    gridDim = {dims[0], dims[1], dims[2]};
    blockDim = {dims[3], dims[4], dims[5]};
    shared.assign(shared_bytes, (char)0xff);  // not a number: what is read must have been written
    body = &kernel;
    const size_t n_threads = (size_t)blockDim.x * blockDim.y * blockDim.z;
    for (unsigned z = 0; z < gridDim.z; z++)
        for (unsigned y = 0; y < gridDim.y; y++)
            for (unsigned x = 0; x < gridDim.x; x++) {
                blockIdx = {x, y, z};
                if (barriers) {
                    block_with_barriers(n_threads);
                    continue;
                }
                for (size_t t = 0; t < n_threads; t++) {
                    threadIdx = thread_at(t);
                    kernel();
                }
            }
}
}  // namespace shim

// As `-ftz=true` compiles: denormal numbers are zeros, as operands and as results, in this thread until it is told otherwise.
extern "C" bool host_flushes(bool flushes)
{
#ifdef __SSE__
    _mm_setcsr(flushes ? _mm_getcsr() | 0x8040u : _mm_getcsr() & ~0x8040u);
    return true;
#else
    return !flushes;
#endif
}

static inline void __syncthreads()
{
#ifdef REAL_THREADS
    pthread_barrier_wait(&shim::barrier);
#else
    const size_t me = shim::current;
    const Index index = threadIdx;
    swapcontext(&shim::contexts[me], &shim::main_context);
    threadIdx = index;
#endif
}
