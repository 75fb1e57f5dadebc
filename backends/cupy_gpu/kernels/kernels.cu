// Kernels on dense blocks of activations. Element (neuron j, instance i) of a block is x[j * sj + i * si].
//
// Arrays are told as name: dtype (shape). A block has `stride` instances, or n_padded, which are n of them and what fills up.
//
// Compiled by NVRTC with --fmad=false, and for the tests by a C++ compiler, with a shim for what CUDA brings. No kernel uses
// atomics, and every sum is added by one thread in the order in which its terms are stored, multiply and add rounded
// separately: results have the bits of the CPU kernels.

#ifndef SHARED_FLOAT4
#define SHARED_FLOAT4(name) extern __shared__ float4 name[]
#endif

#ifdef __CUDACC__
#define AT_ONCE(blocks) __launch_bounds__(256, blocks)  // blocks of 256 threads for which registers must suffice
#else
#define AT_ONCE(blocks)
#endif

typedef long long int64;
typedef unsigned long long uint64;

const int LANES = 32;           // threads of a warp; each has MINIBATCH instances
const int MINIBATCH = 4;        // instances that a thread keeps in registers, so that it reads a weight once for them
const int OUTPUTS = 4;          // outputs that a thread computes at a time
const int WARPS = 8;
const int SLICE = WARPS * OUTPUTS;  // outputs of a slice, which a block of threads computes

template <class Id> struct Four;
template <> struct Four<unsigned short> { typedef ushort4 type; };
template <> struct Four<unsigned int> { typedef uint4 type; };

// Bias and activation of one sum, as `backends.common.kernels.activation` has them on the CPU.
__device__ inline float activated(float total, float bias, int bias_everywhere, float low, float high)
{
    float z = total != 0.0f ? __fadd_rn(total, bias) : (bias_everywhere ? bias : 0.0f);
    z = z < low ? low : z;
    return z > high ? high : z;
}

// exp(x) of x <= 0, and (with MINUS_ONE) exp(x) - 1, in the steps of `backends.common.kernels.smooth`.
template <bool MINUS_ONE> __device__ inline double exponential(double x)
{
    const double t = (x < -104.0 ? -104.0 : x) / 4096.0;
    const double s = 1 + t * (1 / 2. + t * (1 / 6. + t * (1 / 24. + t * (1 / 120. + t * (1 / 720.)))));
    double y = MINUS_ONE ? t * s : 1 + t * s;
    for (int i = 0; i < 12; i++)
        y = MINUS_ONE ? y * (y + 2) : y * y;
    return y;
}

// sigmoid, tanh and gelu of one number, with the bits of the same module.
__device__ inline float smooth(float z, int function)
{
    const double x = z, magnitude = x < 0 ? -x : x;
    if (function == 1) {
        const double e = exponential<false>(-magnitude);
        return (float)((x < 0 ? e : 1.0) / (1 + e));
    }
    if (function == 2) {
        const double e = exponential<true>(-2 * magnitude), y = e / (e + 2);
        return (float)(x < 0 ? y : -y);
    }
    const double c[] = {0.3580023023651943, 0.29446481759382986, 0.1967427853893721, 0.10348909222066019, 0.03984259372825805,
                        0.00894235710158012, -0.00040419280818016737, -0.0010110857049526786, -0.00018255312875481628,
                        9.156817279105524e-05, 3.537535170200245e-05, -9.144262532293005e-06, -5.2254286418285295e-06,
                        7.976283918510854e-07, 5.117912611311723e-07};
    double a = magnitude * 0.7071067811865476;
    a = a > 20.0 ? 20.0 : a;
    const double t = 3.0 / (3.0 + a), s = 2 * t - 1;
    double p = c[14];
    for (int i = 13; i >= 0; i--)
        p = p * s + c[i];
    const double tail = 0.5 * (exponential<false>(-a * a) * (t * p));
    return (float)((x < -40.0 ? -40.0 : x) * (x < 0 ? tail : 1 - tail));
}

// What a neuron makes of a sum with its bias. own: float32 (4,), its function, low, high and slope; or none, where the layer has
// one clamp, which z has gone through.
__device__ inline float finished(float z, const float *own)
{
    if (!own)
        return z;
    float y = own[0] == 0.0f ? (z < 0.0f ? __fmul_rn(own[3], z) : z) : smooth(z, (int)own[0]);
    y = y < own[1] ? own[1] : y;
    return __fadd_rn(y > own[2] ? own[2] : y, 0.0f);
}

// Say of instance i that it is alive (not all zero), and that it is below the activation's maximum somewhere. Threads that
// write at the same time write the same. alive, below: uint8 (instances,)
__device__ inline void mark(float y, float high, int64 i, unsigned char *alive, unsigned char *below)
{
    if (y != 0.0f && !alive[i])
        alive[i] = 1;
    if (y != high && !below[i])
        below[i] = 1;
}

__device__ inline void add(float4 &sum, float4 x, float weight)
{
    sum.x = __fadd_rn(sum.x, __fmul_rn(x.x, weight));
    sum.y = __fadd_rn(sum.y, __fmul_rn(x.y, weight));
    sum.z = __fadd_rn(sum.z, __fmul_rn(x.z, weight));
    sum.w = __fadd_rn(sum.w, __fmul_rn(x.w, weight));
}

__device__ inline void add(float4 &sum, float4 x)
{
    sum.x = __fadd_rn(sum.x, x.x);
    sum.y = __fadd_rn(sum.y, x.y);
    sum.z = __fadd_rn(sum.z, x.z);
    sum.w = __fadd_rn(sum.w, x.w);
}

__device__ inline float4 times(float4 x, float weight)
{
    x.x = __fmul_rn(x.x, weight);
    x.y = __fmul_rn(x.y, weight);
    x.z = __fmul_rn(x.z, weight);
    x.w = __fmul_rn(x.w, weight);
    return x;
}

const int EACH = 0, ONE = 1, NONE = 2;  // weights of a layer: of each connection, one for all, and none within its sums

template <int WEIGHTS> __device__ inline void add_term(float4 &sum, float4 x, float weight)
{
    if (WEIGHTS == NONE)
        add(sum, x);
    else
        add(sum, x, weight);
}

// Inputs of the connections of one slice, for one tile of 128 instances: in shared memory, or where they are.
template <bool STAGED> struct Inputs {
    const float4 *at;
    int64 pitch;
    __device__ float4 operator()(unsigned int id) const { return at[STAGED ? (int64)id * LANES : (int64)id * pitch]; }
};

// All inputs of a layer, for some instances, in shared memory: `pitch` bytes from one to the next.
struct Rows {
    const char *at;
    unsigned int pitch;
    __device__ float4 operator()(unsigned int id) const { return *(const float4 *)(at + id * pitch); }
};

// Add the terms of a thread's OUTPUTS outputs. ids: uint16 or uint32, weights: float32, both (terms of the layer,) from the
// slice's first term on; degree: int32 (OUTPUTS,), terms of each output; sums: float32 (OUTPUTS, MINIBATCH), result.
template <class Id, int WEIGHTS, class In>
__device__ inline void terms(const In &inputs, const Id *ids, const float *weights, float weight, const int degree[OUTPUTS],
                             float4 sums[OUTPUTS])
{
    int common = degree[0], most = degree[0];
    for (int r = 1; r < OUTPUTS; r++) {
        common = degree[r] < common ? degree[r] : common;
        most = degree[r] > most ? degree[r] : most;
    }
    for (int k = 0; k < most; k++, ids += SLICE) {
        const typename Four<Id>::type id = *(const typename Four<Id>::type *)ids;
        float4 w;
        if (WEIGHTS != EACH) {
            w.x = w.y = w.z = w.w = weight;
        } else {
            w = *(const float4 *)(weights + (int64)k * SLICE);
        }
        if (k < common) {
            add_term<WEIGHTS>(sums[0], inputs(id.x), w.x);
            add_term<WEIGHTS>(sums[1], inputs(id.y), w.y);
            add_term<WEIGHTS>(sums[2], inputs(id.z), w.z);
            add_term<WEIGHTS>(sums[3], inputs(id.w), w.w);
        } else {  // the same for all threads of a warp
            if (k < degree[0]) add_term<WEIGHTS>(sums[0], inputs(id.x), w.x);
            if (k < degree[1]) add_term<WEIGHTS>(sums[1], inputs(id.y), w.y);
            if (k < degree[2]) add_term<WEIGHTS>(sums[2], inputs(id.z), w.z);
            if (k < degree[3]) add_term<WEIGHTS>(sums[3], inputs(id.w), w.w);
        }
    }
}

// Where the outputs and the instances of a thread are: in a slice of a layer, and in a block of instances.
struct Place {
    int first;             // output of the slice
    int64 slice, column;   // column: four instances
    int64 pitch;           // of these, from a neuron to the next
    __device__ Place(int first_slice, int64 stride)
        : first(threadIdx.y * OUTPUTS), slice(first_slice + (int64)blockIdx.x),
          column((int64)blockIdx.y * LANES + threadIdx.x), pitch(stride / MINIBATCH)
    {
    }
};

// Bring the inputs of a slice, for the tile's instances, into shared memory; return where those of this thread's are.
// staged: float4 (inputs of a slice, LANES), result; x4: float4 (n_inputs, pitch), from the thread's column on
// map: uint16 or uint32 (inputs of all slices,), maps: int32 (n_slices + 1,), where the inputs of each slice begin
template <class Id>
__device__ inline const float4 *stage(float4 *staged, const float4 *x4, const Place &place, const Id *map, const int *maps)
{
    const int begin = maps[place.slice], end = maps[place.slice + 1];
    for (int m = begin + threadIdx.y; m < end; m += WARPS)
        staged[(m - begin) * LANES + threadIdx.x] = x4[(int64)map[m] * place.pitch];
    __syncthreads();
    return staged + threadIdx.x;
}

__device__ inline float4 finished(float4 z, float bias, const float *own, int bias_everywhere, float low, float high)
{
    z.x = finished(activated(z.x, bias, bias_everywhere, low, high), own);
    z.y = finished(activated(z.y, bias, bias_everywhere, low, high), own);
    z.z = finished(activated(z.z, bias, bias_everywhere, low, high), own);
    z.w = finished(activated(z.w, bias, bias_everywhere, low, high), own);
    return z;
}

// The activations of one neuron, of the four instances of a column, into the block, and the flags of these.
// to: float4 (n_outputs, pitch), from the neuron on; alive, below: uint8 (stride,), result
__device__ inline void put(float4 z, float4 *to, int64 column, float high, unsigned char *alive, unsigned char *below)
{
    *to = z;
    if (alive) {
        mark(z.x, high, MINIBATCH * column, alive, below);
        mark(z.y, high, MINIBATCH * column + 1, alive, below);
        mark(z.z, high, MINIBATCH * column + 2, alive, below);
        mark(z.w, high, MINIBATCH * column + 3, alive, below);
    }
}

// Bias, activation and flags of a thread's sums. biases: float32 (OUTPUTS,), activations: float32 (n_slices * SLICE, 4) or none,
// y: float32 (n_outputs, stride), alive, below: uint8 (stride,), result.
__device__ inline void finish(const float4 sums[OUTPUTS], const Place &place, const float *biases, const float *activations,
                              int n_outputs, int bias_everywhere, float low, float high, float *y, unsigned char *alive,
                              unsigned char *below)
{
    for (int r = 0; r < OUTPUTS; r++) {
        const int64 output = place.slice * SLICE + place.first + r;
        if (output >= n_outputs)
            break;
        const float *own = activations ? activations + 4 * output : activations;
        const float4 z = finished(sums[r], biases[r], own, bias_everywhere, low, high);
        put(z, (float4 *)y + output * place.pitch + place.column, place.column, high, alive, below);
    }
}

// One layer on a block with si = 1: gather, multiply, add, bias, activation, and the flags of each instance, in one pass.
//
// Grid: (slices, tiles of 128 instances); threads: (32, 8). The layer is in sliced ELL: the ids of a slice's k-th terms lie side
// by side, weights likewise; `degree` says how many terms an output has. Where it is STAGED, ids are positions in the slice's
// `map` of inputs, which are brought into shared memory first.
//
// x: float32 (n_inputs, stride), y: float32 (n_outputs, stride); result. alive, below: uint8 (stride,), result, or none of both.
// packed: uint8 (bytes of the layer,), in which these begin at ids_at, weights_at, ...:
//   ids: uint16 or uint32 (terms,), weights: float32 (terms,), slices: int64 (n_slices + 1,), where the terms of each begin
//   degrees: int32 (n_slices * SLICE,), bias: float32 (n_slices * SLICE,)
//   map: as ids (inputs of all slices,), maps: int32 (n_slices + 1,), where the inputs of each slice begin
//   activations: float32 (n_slices * SLICE, 4), see `finished`; none with activations_at < 0
template <class Id, bool UNIFORM, bool STAGED>
__device__ inline void layer(const float *x, float *y, int64 stride, const char *packed, int64 ids_at, int64 weights_at,
                             int64 slices_at, int64 degrees_at, int64 bias_at, int64 map_at, int64 maps_at,
                             int64 activations_at, float weight, int first_slice, int n_outputs, int bias_everywhere, float low,
                             float high, unsigned char *alive, unsigned char *below)
{
    const Place place(first_slice, stride);
    const float4 *x4 = (const float4 *)x + place.column;
    Inputs<STAGED> inputs = {x4, place.pitch};
    if (STAGED) {
        SHARED_FLOAT4(staged);
        inputs.at = stage(staged, x4, place, (const Id *)(packed + map_at), (const int *)(packed + maps_at));
    }
    const int64 at = ((const int64 *)(packed + slices_at))[place.slice] + place.first;
    const int64 first = place.slice * SLICE + place.first;
    const int *degrees = (const int *)(packed + degrees_at) + first;
    int degree[OUTPUTS];
    float4 sums[OUTPUTS];
    for (int r = 0; r < OUTPUTS; r++) {
        degree[r] = degrees[r];
        sums[r].x = sums[r].y = sums[r].z = sums[r].w = 0.0f;
    }
    const float *weights = UNIFORM ? (const float *)0 : (const float *)(packed + weights_at) + at;
    terms<Id, UNIFORM ? ONE : EACH>(inputs, (const Id *)(packed + ids_at) + at, weights, weight, degree, sums);
    finish(sums, place, (const float *)(packed + bias_at) + first,
           activations_at < 0 ? (const float *)0 : (const float *)(packed + activations_at), n_outputs, bias_everywhere, low,
           high, y, alive, below);
}

const int AHEAD = 4;  // terms whose places are read at a time

// Add the k-th term of a thread's outputs, which have the same input. weights: float32 (terms, OUTPUTS), where each has one.
template <int WEIGHTS>
__device__ inline void shared_term(float4 x, const float *weights, int k, float weight, float4 sums[OUTPUTS])
{
    if (WEIGHTS == EACH) {
        const float4 w = *(const float4 *)(weights + OUTPUTS * k);
        add(sums[0], x, w.x);
        add(sums[1], x, w.y);
        add(sums[2], x, w.z);
        add(sums[3], x, w.w);
        return;
    }
    if (WEIGHTS == ONE)
        x = times(x, weight);
    for (int r = 0; r < OUTPUTS; r++)
        add(sums[r], x);
}

// As `layer`, where the four outputs of each thread have the same inputs: an activation is read once for all of them, and a
// product is made once where they have one weight. Sums are added for each of them all the same. With NONE the weight is a power
// of two, with which the sums are multiplied in the end: of the same bits, where `magnitudes` has shown that no product is
// denormal and no sum infinite.
//
// packed: as of a staged layer, but that ids and weights lie otherwise, those of a slice one quad of outputs after the other:
//   ids: uint32 (terms / 4,), bytes from the first staged input to the term's; weights: float32 (terms / 4, 4)
//   slices: int64 (n_slices + 1,), where the ids of each begin; each quad has an eighth of them, a multiple of AHEAD
//   map: uint32
// x: float32 (n_inputs, stride), packed: uint8 (bytes of the layer,)
// y: float32 (n_outputs, stride), alive, below: uint8 (stride,), result
template <int WEIGHTS>
__device__ inline void shared_layer(const float *x, float *y, int64 stride, const char *packed, int64 ids_at, int64 weights_at,
                                    int64 slices_at, int64 degrees_at, int64 bias_at, int64 map_at, int64 maps_at,
                                    int64 activations_at, float weight, int first_slice, int n_outputs, int bias_everywhere,
                                    float low, float high, unsigned char *alive, unsigned char *below)
{
    const Place place(first_slice, stride);
    SHARED_FLOAT4(staged);
    const char *inputs = (const char *)stage(staged, (const float4 *)x + place.column, place,
                                             (const unsigned int *)(packed + map_at), (const int *)(packed + maps_at));
    const int64 *slices = (const int64 *)(packed + slices_at) + place.slice, first = place.slice * SLICE + place.first;
    const int64 at = slices[0] + threadIdx.y * ((slices[1] - slices[0]) / WARPS);
    const unsigned int *ids = (const unsigned int *)(packed + ids_at) + at;
    const float *weights = WEIGHTS == EACH ? (const float *)(packed + weights_at) + OUTPUTS * at : (const float *)0;
    const int *degrees = (const int *)(packed + degrees_at) + first, degree = degrees[0];
    float4 sums[OUTPUTS];
    for (int r = 0; r < OUTPUTS; r++)  // zeros of which the compiler does not know that they are the same: it would add once
        sums[r].x = sums[r].y = sums[r].z = sums[r].w = (float)(degrees[r] >> 31);
    int left = degree;
    for (; left >= AHEAD; left -= AHEAD, ids += AHEAD, weights += WEIGHTS == EACH ? AHEAD * OUTPUTS : 0) {
        const uint4 id = *(const uint4 *)ids;
        shared_term<WEIGHTS>(*(const float4 *)(inputs + id.x), weights, 0, weight, sums);
        shared_term<WEIGHTS>(*(const float4 *)(inputs + id.y), weights, 1, weight, sums);
        shared_term<WEIGHTS>(*(const float4 *)(inputs + id.z), weights, 2, weight, sums);
        shared_term<WEIGHTS>(*(const float4 *)(inputs + id.w), weights, 3, weight, sums);
    }
    for (int k = 0; k < left; k++)
        shared_term<WEIGHTS>(*(const float4 *)(inputs + ids[k]), weights, k, weight, sums);
    if (WEIGHTS == NONE)
        for (int r = 0; r < OUTPUTS; r++)
            sums[r] = times(sums[r], weight);
    finish(sums, place, (const float *)(packed + bias_at) + first,
           activations_at < 0 ? (const float *)0 : (const float *)(packed + activations_at), n_outputs, bias_everywhere, low,
           high, y, alive, below);
}

#define LAYER(name, function)                                                                                                \
    extern "C" __global__ void name(const float *x, float *y, int64 stride, const char *packed, int64 ids_at,                 \
                                    int64 weights_at, int64 slices_at, int64 degrees_at, int64 bias_at, int64 map_at,         \
                                    int64 maps_at, int64 activations_at, float weight, int first_slice, int n_outputs,        \
                                    int bias_everywhere, float low, float high, unsigned char *alive, unsigned char *below)   \
    {                                                                                                                         \
        function(x, y, stride, packed, ids_at, weights_at, slices_at, degrees_at, bias_at, map_at, maps_at, activations_at,   \
                 weight, first_slice, n_outputs, bias_everywhere, low, high, alive, below);                                   \
    }

LAYER(layer_16, (layer<unsigned short, false, false>))
LAYER(layer_16_uniform, (layer<unsigned short, true, false>))
LAYER(layer_16_staged, (layer<unsigned short, false, true>))
LAYER(layer_16_uniform_staged, (layer<unsigned short, true, true>))
LAYER(layer_32, (layer<unsigned int, false, false>))
LAYER(layer_32_uniform, (layer<unsigned int, true, false>))
LAYER(layer_32_staged, (layer<unsigned int, false, true>))
LAYER(layer_32_uniform_staged, (layer<unsigned int, true, true>))
LAYER(layer_shared_staged, shared_layer<EACH>)
LAYER(layer_shared_uniform_staged, shared_layer<ONE>)
LAYER(layer_shared_added_staged, shared_layer<NONE>)

const int HELD = 2;     // quads of outputs whose sums a thread keeps until all threads have read the layer's inputs
const int FIELDS = 9;   // of a layer in the table of all
const int NUMBERS = 3;

// A run of layers in one launch, on a block with si = 1: a block of threads takes its instances through all of them, and
// activations stay in shared memory. Bits and flags (of the last layer) are those of the layers one by one.
//
// Grid: (instances / (4 lanes)); threads: (lanes, 256 / lanes). Shared memory: lanes float4 for each neuron of the widest layer,
// which has 2 x 4 x 256 / lanes neurons at most.
//
// x: float32 (n_inputs, stride), y: float32 (n_outputs, stride); result. alive, below: uint8 (stride,), result, or none of both.
// store: uint8, the bytes of all layers
// table: int64 (n_layers, FIELDS): neurons before and after it, EACH, ONE or NONE, and where in `store` these begin: ids, weights,
//   slices, degrees, bias, activations, as `layer` takes them, but for ids: uint16 (terms,), of the layer's inputs
// numbers: float32 (n_layers, NUMBERS): weight, low, high
extern "C" __global__ void AT_ONCE(2) layers_staged(const float *x, float *y, int64 stride, const char *store, const int64 *table,
                                         const float *numbers, int first, int last, int bias_everywhere, unsigned char *alive,
                                         unsigned char *below)
{
    SHARED_FLOAT4(rows);
    const int lanes = blockDim.x, quads = blockDim.y, quad = threadIdx.y;
    const int64 column = (int64)blockIdx.x * lanes + threadIdx.x, pitch = stride / MINIBATCH;
    float4 *own = rows + threadIdx.x;
    const Rows inputs = {(const char *)own, (unsigned int)(lanes * sizeof(float4))};
    const int n_inputs = (int)table[first * FIELDS];
#pragma unroll 1
    for (int j = quad; j < n_inputs; j += quads)
        own[j * lanes] = ((const float4 *)x)[j * pitch + column];
    for (int number = first; number < last; number++) {
        const int64 *at = table + number * FIELDS;
        const float weight = numbers[NUMBERS * number], low = numbers[NUMBERS * number + 1], high = numbers[NUMBERS * number + 2];
        const int n_outputs = (int)at[1], weights_of = (int)at[2];
        float4 sums[HELD][OUTPUTS];
        __syncthreads();
#pragma unroll
        for (int h = 0; h < HELD; h++) {
            const int output = OUTPUTS * (quad + h * quads);
            if (output >= n_outputs)
                break;
            const int64 begin = ((const int64 *)(store + at[5]))[output / SLICE] + output % SLICE;
            const int *degrees = (const int *)(store + at[6]) + output;
            const unsigned short *ids = (const unsigned short *)(store + at[3]) + begin;
            const float *weights = (const float *)(store + at[4]) + begin;
            int degree[OUTPUTS];
            for (int r = 0; r < OUTPUTS; r++) {
                degree[r] = degrees[r];
                sums[h][r].x = sums[h][r].y = sums[h][r].z = sums[h][r].w = 0.0f;
            }
            if (weights_of == EACH) {
                terms<unsigned short, EACH>(inputs, ids, weights, weight, degree, sums[h]);
            } else if (weights_of == ONE) {
                terms<unsigned short, ONE>(inputs, ids, weights, weight, degree, sums[h]);
            } else {
                terms<unsigned short, NONE>(inputs, ids, weights, weight, degree, sums[h]);
                for (int r = 0; r < OUTPUTS; r++)
                    sums[h][r] = times(sums[h][r], weight);
            }
        }
        __syncthreads();
#pragma unroll
        for (int h = 0; h < HELD; h++)
#pragma unroll
            for (int r = 0; r < OUTPUTS; r++)
                if (OUTPUTS * (quad + h * quads) + r < n_outputs)
                    own[(OUTPUTS * (quad + h * quads) + r) * lanes] = sums[h][r];
#pragma unroll 1
        for (int k = 0; k < HELD * OUTPUTS; k++) {
            const int output = OUTPUTS * (quad + k / OUTPUTS * quads) + k % OUTPUTS;
            if (output >= n_outputs)
                continue;
            const float *activation = at[8] < 0 ? (const float *)0 : (const float *)(store + at[8]) + 4 * output;
            const float bias = ((const float *)(store + at[7]))[output];
            const float4 z = finished(own[output * lanes], bias, activation, bias_everywhere, low, high);
            if (number + 1 < last)
                own[output * lanes] = z;
            else
                put(z, (float4 *)y + output * pitch + column, column, high, alive, below);
        }
    }
}

// Bias, activation and flags where a library has made the products. Grid: (ceil(fast / 32), any); threads: (32, 8).
// z: float32 (n_neurons, n) with strides sj, si, sums become activations; bias: float32 (n_neurons,);
// activations: float32 (n_neurons, 4), see `finished`, or none; alive, below: uint8 (n,), result, or none of both.
extern "C" __global__ void finish_layer(float *z, int64 sj, int64 si, int n_neurons, int n, const float *bias,
                                        const float *activations, int bias_everywhere, float low, float high,
                                        unsigned char *alive, unsigned char *below)
{
    const bool by_instance = si == 1;
    const int fast = blockIdx.x * LANES + threadIdx.x, n_fast = by_instance ? n : n_neurons, n_slow = by_instance ? n_neurons : n;
    if (fast >= n_fast)
        return;
    for (int slow = blockIdx.y * WARPS + threadIdx.y; slow < n_slow; slow += gridDim.y * WARPS) {
        const int j = by_instance ? slow : fast, i = by_instance ? fast : slow;
        const float *own = activations ? activations + 4 * (int64)j : activations;
        const float y = finished(activated(z[j * sj + i * si], bias[j], bias_everywhere, low, high), own);
        z[j * sj + i * si] = y;
        if (alive)
            mark(y, high, i, alive, below);
    }
}

// Spread instances out into a block of zeros. Grid: (ceil(n / 8)); threads: (32, 8).
// begins, ends: int64 (n,), where the entries of each instance begin and end; indices: int32 (entries,); values: float32
// (entries,), or none where all are `value`; x: float32 (n_neurons, n_padded) with strides sj, si, result.
extern "C" __global__ void fill_rows(const int64 *begins, const int64 *ends, const int *indices, const float *values,
                                     float value, int n, float *x, int64 sj, int64 si)
{
    const int i = blockIdx.x * WARPS + threadIdx.y;
    if (i >= n)
        return;
    for (int64 k = begins[i] + threadIdx.x; k < ends[i]; k += LANES)
        x[indices[k] * sj + i * si] = values ? values[k] : value;
}

// Copy the instances `keep` into another block, whose instances beyond them become zero. Grid: (ceil(fast / 32), any); threads:
// (32, 8). x: float32 (n_neurons, instances) with strides sj, si; y: float32 (n_neurons, n_padded) with strides tj, ti, result;
// keep: int32 (n_keep,).
extern "C" __global__ void pick_rows(const float *x, int64 sj, int64 si, float *y, int64 tj, int64 ti, int n_neurons,
                                     const int *keep, int n_keep, int n_padded)
{
    const bool by_instance = si == 1;
    const int fast = blockIdx.x * LANES + threadIdx.x;
    const int n_fast = by_instance ? n_padded : n_neurons, n_slow = by_instance ? n_neurons : n_padded;
    if (fast >= n_fast)
        return;
    for (int slow = blockIdx.y * WARPS + threadIdx.y; slow < n_slow; slow += gridDim.y * WARPS) {
        const int j = by_instance ? slow : fast, i = by_instance ? fast : slow;
        y[j * tj + i * ti] = i < n_keep ? x[j * sj + keep[i] * si] : 0.0f;
    }
}

// Hash the bits of each instance, as `backends.common.kernels.column_merging` hashes columns. Grid: (ceil(n / 256)); threads:
// (256).
// bits: uint32 (n_neurons, n) with strides sj, si, a block of float32; digests: uint64 (n,), result.
extern "C" __global__ void hash_rows(const unsigned int *bits, int64 sj, int64 si, int n_neurons, int n, uint64 *digests)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    uint64 digest = 0xCBF29CE484222325ull;
    for (int j = 0; j < n_neurons; j++) {
        digest = (digest ^ bits[j * sj + i * si]) * 0x9E3779B97F4A7C15ull;
        digest ^= digest >> 29;
    }
    digests[i] = digest;
}

// Say of each pair of instances whether their bits are the same. Grid: (ceil(n_pairs / 256)); threads: (256).
// bits: uint32 (n_neurons, n) with strides sj, si; one, other: int32 (n_pairs,), the pairs; same: uint8 (n_pairs,), result.
extern "C" __global__ void same_rows(const unsigned int *bits, int64 sj, int64 si, int n_neurons, const int *one,
                                     const int *other, int n_pairs, unsigned char *same)
{
    const int pair = blockIdx.x * blockDim.x + threadIdx.x;
    if (pair >= n_pairs)
        return;
    const unsigned int *a = bits + one[pair] * si, *b = bits + other[pair] * si;
    int j = 0;
    while (j < n_neurons && a[j * sj] == b[j * sj])
        j++;
    same[pair] = j == n_neurons;
}

// Add up each instance, neuron by neuron in the order of `last`. Grid: (ceil(n / 256)); threads: (256).
// x: float32 (n_neurons, n) with strides sj, si; last: int32 (n_last,); sums: float64 (n,), result.
extern "C" __global__ void sum_rows(const float *x, int64 sj, int64 si, int n, const int *last, int n_last, double *sums)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    double sum = 0.0;
    for (int j = 0; j < n_last; j++)
        sum += (double)x[last[j] * sj + i * si];
    sums[i] = sum;
}
