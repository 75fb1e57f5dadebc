/* The paper's two steps for activations and layers in CSC, as plain C: what a compiler makes of them is what kernels are held to.

   For each connection both steps load its weight (4 bytes), its input's id (2), and where that input's entries start and stop
   (8 and 8). Only what this benchmark needs: one thread, ids of 16 bits, one clamp for all layers, biases that leave zeros be. */

#include <stdint.h>

typedef struct {
    int64_t *start, *stop; /* (widest,) */
    uint16_t *rows;        /* (capacity,) */
    float *values;         /* (capacity,) */
} matrix;

typedef struct {
    int64_t n_layers, n_neurons, n_rows;
    const int64_t *indptr; /* (n_layers, n_neurons + 1): from the first connection of all layers */
    const uint16_t *ids;   /* (connections,) */
    const float *weights;  /* (connections,) */
    const float *bias;     /* (n_layers, n_neurons): added to sums that are not zero */
    float low, high;
    matrix sides[2];       /* the first has the inputs */
    int64_t *counts;       /* (n_neurons,) */
    float *sums;           /* (n_rows,): zero */
    int32_t *marks;        /* (n_rows,): zero */
    int32_t *touched;      /* (n_rows + 1,) */
} job;

static float activate(float sum, float bias, float low, float high) {
    float z = sum != 0 ? sum + bias : 0;
    z = z < low ? low : z;
    return z > high ? high : z;
}

/* Returns the multiply-adds; the last activations are in sides[n_layers % 2]. */
int64_t run_layers(job *restrict g, int64_t n_alive) {
    int64_t total = 0;
    int32_t stamp = 0;
    for (int64_t layer = 0; layer < g->n_layers; layer++) {
        const matrix *a = &g->sides[layer % 2];
        matrix *b = &g->sides[(layer + 1) % 2];
        const int64_t *restrict start = a->start, *restrict stop = a->stop, *indptr = g->indptr + layer * (g->n_neurons + 1);
        const uint16_t *restrict ids = g->ids, *restrict rows = a->rows;
        const float *restrict weights = g->weights, *restrict values = a->values, *bias = g->bias + layer * g->n_neurons;
        float *restrict sums = g->sums;
        int32_t *restrict marks = g->marks, *restrict touched = g->touched;
        for (int64_t j = 0; j < g->n_neurons; j++) { /* symbolic */
            int64_t reached = 0;
            stamp++;
            for (int64_t k = indptr[j]; k < indptr[j + 1]; k++) {
                if (weights[k] == 0) continue;
                uint16_t i = ids[k];
                total += stop[i] - start[i];
                if (reached == n_alive) continue;
                for (int64_t p = start[i]; p < stop[i]; p++) {
                    reached += marks[rows[p]] != stamp;
                    marks[rows[p]] = stamp;
                }
            }
            g->counts[j] = reached;
        }
        int64_t at = 0;
        for (int64_t j = 0; j < g->n_neurons; j++) { /* numeric */
            int64_t place = at, reached = 0;
            stamp++;
            for (int64_t k = indptr[j]; k < indptr[j + 1]; k++) {
                float weight = weights[k];
                if (weight == 0) continue;
                uint16_t i = ids[k];
                for (int64_t p = start[i]; p < stop[i]; p++) {
                    uint16_t row = rows[p];
                    touched[reached] = row;
                    reached += marks[row] != stamp;
                    marks[row] = stamp;
                    sums[row] += weight * values[p];
                }
            }
            for (int64_t q = 0; q < reached; q++) {
                int32_t row = touched[q];
                float y = activate(sums[row], bias[j], g->low, g->high);
                sums[row] = 0;
                b->rows[place] = (uint16_t)row;
                b->values[place] = y;
                place += y != 0;
            }
            b->start[j] = at;
            b->stop[j] = place;
            at += g->counts[j];
        }
        stamp++;
        n_alive = 0;
        for (int64_t j = 0; j < g->n_neurons && n_alive < g->n_rows; j++)
            for (int64_t p = b->start[j]; p < b->stop[j]; p++) {
                n_alive += marks[b->rows[p]] != stamp;
                marks[b->rows[p]] = stamp;
            }
    }
    return total;
}
