/* The hot loops of a training step on a CPU: what moe_lib/native.py calls.
 *
 * Every function visits its n examples in CHUNKS parts, in parallel. Gradients are summed
 * for each part by itself, so the bits do not depend on the number of threads. Filters
 * and router columns come packed: weight[block][d][LANES], padded with zeros, so that one
 * vector instruction serves LANES of them. P patches, d dimensions, M experts.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__)
/* glibc has a vector form of expf, which its header offers under -ffast-math only. */
__attribute__((simd("notinbranch"))) float expf(float);
#endif

/* LANES floats fill one register; longer vectors would live in memory. */
#if defined(__AVX512F__)
#define LANES 16
#define SUPPORTED __builtin_cpu_supports("avx512f")
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
#define SUPPORTED (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
#define LANES 4
#define SUPPORTED 1
#endif
enum { CHUNKS = 8, GROUP = 4 };
enum activation { LINEAR, CUBIC, RELU };
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
#define INLINE static inline __attribute__((always_inline))
#define BLOCKS(count) (((count) + LANES - 1) / LANES)
#define PADDED(count) (BLOCKS(count) * LANES)
#define LESSER(a, b) ((a) < (b) ? (a) : (b))
#define FOR_EACH_CHUNK                                                 \
    _Pragma("omp parallel for schedule(dynamic) num_threads(threads)") \
    for (int chunk = 0; chunk < CHUNKS; chunk++)
#define FOR_EACH(i, n, step) /* of the chunk's share of 0, ..., n - 1 */       \
    for (int64_t i = chunk * (n) / CHUNKS, end = (chunk + 1) * (n) / CHUNKS;   \
         i < end; i += step)
#define PRAGMA(text) _Pragma(#text)
#define REDUCE(result, m, count) \
    PRAGMA(omp simd reduction(result)) for (int32_t m = 0; m < (int32_t)(count); m++)

/* Compile the code once for each count = 1, ..., GROUP, so that all responses of a
 * group stay in registers; likewise once for each activation. */
#define WITH_COUNT(left, ...)                            \
    switch (left) {                                      \
    case 1: { enum { count = 1 }; __VA_ARGS__; } break;  \
    case 2: { enum { count = 2 }; __VA_ARGS__; } break;  \
    case 3: { enum { count = 3 }; __VA_ARGS__; } break;  \
    default: { enum { count = GROUP }; __VA_ARGS__; }    \
    }
#define WITH_ACTIVATION(number, ...)                                         \
    switch (number) {                                                        \
    case LINEAR: { const enum activation act = LINEAR; __VA_ARGS__; } break; \
    case CUBIC: { const enum activation act = CUBIC; __VA_ARGS__; } break;   \
    default: { const enum activation act = RELU; __VA_ARGS__; }              \
    }

/* LANES, or 0 if this machine lacks the instructions that the compiler was told of. */
int width(void) { return SUPPORTED ? LANES : 0; }

/* Examples lie in memory, not in a cache: ask for the one after the next few. */
INLINE void fetch(const float *x, int64_t i, int64_t n, int64_t count)
{
    enum { AHEAD = 4, CACHE_LINE = 64 / sizeof(float) };
    for (int64_t k = 0; k < count; k += CACHE_LINE)
        __builtin_prefetch(x + LESSER(i + AHEAD, n - 1) * count + k);
}

/* z[p] = <w_j, x_p> for a block of filters j and a group of patches p. */
INLINE void respond(const float *x, const lanes *w, int64_t d, int count, lanes *z)
{
    for (int p = 0; p < count; p++)
        z[p] = (lanes){0};
    for (int64_t k = 0; k < d; k++)
        for (int p = 0; p < count; p++)
            z[p] += x[p * d + k] * w[k];
}

/* grad += sum_p z[p] x_p: the transpose of respond. */
INLINE void spread(const float *x, const lanes *z, int64_t d, int count, lanes *grad)
{
    for (int64_t k = 0; k < d; k++) {
        lanes sum = x[k] * z[0];
        for (int p = 1; p < count; p++)
            sum += x[p * d + k] * z[p];
        grad[k] += sum;
    }
}

/* The value where z > 0 or z is not a number, else 0. */
INLINE lanes unless_negative(lanes z, lanes value)
{
    return (lanes)((words)value & ~(words)(z <= 0));
}

INLINE lanes activate(lanes z, enum activation act)
{
    if (act == CUBIC)
        return z * z * z;
    return act == LINEAR ? z : unless_negative(z, z);
}

INLINE lanes slope(lanes z, enum activation act)
{
    const lanes one = (lanes){0} + 1;
    if (act == CUBIC)
        return 3 * z * z;
    return act == LINEAR ? one : unless_negative(z, one);
}

/* Sum of the activations of a block of filters over a group of patches. */
INLINE float forward(const float *x, const lanes *w, int64_t d, int count,
                     enum activation act)
{
    lanes z[GROUP], sum = {0};
    respond(x, w, d, count, z);
    for (int p = 0; p < count; p++)
        sum += activate(z[p], act);
    float total = 0;
    for (int l = 0; l < LANES; l++)
        total += sum[l];
    return total;
}

/* grad += scale * the gradient of forward in w. */
INLINE void backward(const float *x, const lanes *w, int64_t d, int count,
                     enum activation act, float scale, lanes *grad)
{
    lanes z[GROUP];
    respond(x, w, d, count, z);
    for (int p = 0; p < count; p++)
        z[p] = scale * slope(z[p], act);
    spread(x, z, d, count, grad);
}

/* output[i] = f_m(x_i) with m = expert[i]; x [n, P, d], w [M, blocks, d, LANES]. */
void experts_forward(const float *x, const lanes *w, const int64_t *expert,
                     float *output, int64_t n, int64_t P, int64_t d, int64_t blocks,
                     int activation, int threads)
{
    FOR_EACH_CHUNK
        WITH_ACTIVATION(activation, FOR_EACH(i, n, 1) {
            fetch(x, i, n, P * d);
            const lanes *own = w + expert[i] * blocks * d;
            float sum = 0;
            for (int64_t j = 0; j < blocks; j++)
                for (int64_t p = 0; p < P; p += GROUP)
                    WITH_COUNT(P - p, sum += forward(x + (i * P + p) * d, own + j * d,
                                                     d, count, act))
            output[i] = sum;
        })
}

/* Each chunk's part of sum_i grad_output[i] d f_m(x_i) / d w, in
 * grad [CHUNKS, M, blocks, d, LANES]. */
void experts_backward(const float *x, const lanes *w, const int64_t *expert,
                      const float *grad_output, lanes *grad, int64_t n, int64_t P,
                      int64_t d, int64_t M, int64_t blocks, int activation, int threads)
{
    FOR_EACH_CHUNK {
        lanes *part = grad + chunk * M * blocks * d;
        memset(part, 0, M * blocks * d * sizeof(lanes));
        WITH_ACTIVATION(activation, FOR_EACH(i, n, 1) {
            fetch(x, i, n, P * d);
            const int64_t own = expert[i] * blocks * d;
            for (int64_t j = own; j < own + blocks * d; j += d)
                for (int64_t p = 0; p < P; p += GROUP)
                    WITH_COUNT(P - p, backward(x + (i * P + p) * d, w + j, d, count,
                                               act, grad_output[i], part + j))
        })
    }
}

/* memcpy in pieces of constant size: for a few numbers, cheaper than a call. */
INLINE void copy(float *to, const float *from, int64_t count)
{
    int64_t at = 0;
    for (; at + LANES <= count; at += LANES)
        memcpy(to + at, from + at, LANES * sizeof(float));
    for (int size = LANES / 2; size > 0; at += count & size, size /= 2)
        if (count & size)
            memcpy(to + at, from + at, size * sizeof(float));
}

/* A row holds M numbers and then -INFINITY up to PADDED(M). */
INLINE float largest(const float *row, int64_t M)
{
    float best = -INFINITY;
    REDUCE(max:best, m, PADDED(M))
        best = row[m] > best ? row[m] : best;
    return best;
}

/* The lowest index of the largest score; 0 if no score is a number. */
INLINE int64_t choose(const float *score, int64_t M)
{
    const float best = largest(score, M);
    int32_t index = INT32_MAX;
    REDUCE(min:index, m, PADDED(M))
        index = LESSER(score[m] == best ? m : INT32_MAX, index);
    return index < M ? index : 0;
}

/* In place. Probabilities end at exp(-80) = 2e-35, which their sum does not notice: far
 * below, the vector form of expf calls the scalar one. */
INLINE void softmax(float *row, int64_t M)
{
    const float shift = largest(row, M);
    float total = 0;
    for (int64_t m = 0; m < PADDED(M); m++)
        row[m] = row[m] - shift < -80 ? -80 : row[m] - shift;
    REDUCE(+:total, m, PADDED(M))
        total += row[m] = expf(row[m]);
    for (int64_t m = 0; m < PADDED(M); m++)
        row[m] *= 1 / total;
}

/* Logits, top-1 choice, softmax and gate of every example. s [n, d] is the sum of the
 * patches, theta [blocks, d, LANES]; noise [n, M] may be null. */
void route_forward(const float *s, const lanes *theta, const float *noise,
                   float *logits, float *probs, int64_t *expert, float *gate, int64_t n,
                   int64_t d, int64_t M, int threads)
{
    FOR_EACH_CHUNK {
        float h[GROUP][PADDED(M)], score[PADDED(M)];
        FOR_EACH(i0, n, GROUP) {
            for (int64_t m = 0; m < M; m += LANES) {
                const lanes *columns = theta + m / LANES * d;
                lanes z[GROUP];
                WITH_COUNT(end - i0, respond(s + i0 * d, columns, d, count, z);
                           for (int q = 0; q < count; q++)
                               *(lanes *)(h[q] + m) = z[q])
            }
            for (int64_t i = i0; i < LESSER(i0 + GROUP, end); i++) {
                float *row = h[i - i0];
                for (int64_t m = M; m < PADDED(M); m++)
                    row[m] = -INFINITY;
                memset(score, 0, sizeof score);
                if (noise)
                    copy(score, noise + i * M, M);
                for (int64_t m = 0; m < PADDED(M); m++)
                    score[m] += row[m];
                expert[i] = choose(score, M);
                copy(logits + i * M, row, M);
                softmax(row, M);
                copy(probs + i * M, row, M);
                gate[i] = row[expert[i]];
            }
        }
    }
}

/* Each chunk's part of sum_i grad_gate[i] d gate[i] / d theta, in
 * grad [CHUNKS, blocks, d, LANES]. */
void route_backward(const float *s, const float *probs, const int64_t *expert,
                    const float *grad_gate, lanes *grad, int64_t n, int64_t d,
                    int64_t M, int threads)
{
    FOR_EACH_CHUNK {
        lanes *part = grad + chunk * BLOCKS(M) * d;
        memset(part, 0, BLOCKS(M) * d * sizeof(lanes));
        FOR_EACH(i0, n, GROUP)
            for (int64_t m = 0; m < M; m += LANES) {
                lanes dh[GROUP];
                for (int64_t i = i0; i < LESSER(i0 + GROUP, end); i++) {
                    const float scale = grad_gate[i] * probs[i * M + expert[i]];
                    float pi[LANES] = {0};
                    copy(pi, probs + i * M + m, LESSER(M - m, LANES));
                    dh[i - i0] = *(lanes *)pi * -scale;
                    if (expert[i] >= m && expert[i] < m + LANES)
                        dh[i - i0][expert[i] - m] += scale;
                }
                WITH_COUNT(end - i0,
                           spread(s + i0 * d, dh, d, count, part + m / LANES * d))
            }
    }
}

/* Philox4x32-10 (Salmon et al. 2011): r[i, m] in [0, 1) is made of the upper 24 bits
 * of word i % 4 at the counter (i / 4, m, step, 0). */
void philox_uniform(float *r, int64_t n, int64_t M, uint32_t key0, uint32_t key1,
                    uint32_t step, int threads)
{
    FOR_EACH_CHUNK
        FOR_EACH(g, (n + 3) / 4, 1) for (int64_t m = 0; m < M; m += LANES) {
            uint32_t c[4][LANES], k0 = key0, k1 = key1;
            for (int l = 0; l < LANES; l++)
                c[0][l] = g, c[1][l] = m + l, c[2][l] = step, c[3][l] = 0;
            for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85)
                for (int l = 0; l < LANES; l++) {
                    const uint64_t a = (uint64_t)0xD2511F53 * c[0][l];
                    const uint64_t b = (uint64_t)0xCD9E8D57 * c[2][l];
                    c[0][l] = (uint32_t)(b >> 32) ^ c[1][l] ^ k0;
                    c[2][l] = (uint32_t)(a >> 32) ^ c[3][l] ^ k1;
                    c[1][l] = (uint32_t)b;
                    c[3][l] = (uint32_t)a;
                }
            for (int w = 0; w < 4 && 4 * g + w < n; w++) {
                float u[LANES];
                for (int l = 0; l < LANES; l++)
                    u[l] = (c[w][l] >> 8) * 0x1p-24f;
                copy(r + (4 * g + w) * M + m, u, LESSER(M - m, LANES));
            }
        }
}
