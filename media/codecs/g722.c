/* ITU-T G.722 at 64 kbit/s: two bands, ADPCM of 6 and 2 bits. See codecs.h.
 *
 * Names of blocks and tables are those of the Recommendation's clauses 3 to 6, so that each step
 * can be laid beside its text. Arithmetic is that of clause 5 (saturating, 16 bits).
 */
#include <string.h>

#include "codecs.h"

struct band {
    int32_t s, sz;          /* prediction; its part of the zeros */
    int32_t nb, det;        /* logarithmic and linear scale factor */
    int32_t r1, r2;         /* reconstructed signal, delayed */
    int32_t p1, p2;         /* partially reconstructed signal, delayed */
    int32_t a1, a2;         /* poles */
    int32_t d[6], b[6];     /* quantised differences, zeros */
};

struct g722 {
    struct band low, high;
    int32_t delay[24]; /* of the quadrature mirror filter */
};

_Static_assert(sizeof(struct g722) <= G722_STATE * sizeof(int32_t), "state of a G.722 direction");

static const int16_t qmf[12] = {3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11};
static const int16_t q6[30] = {0,   35,  72,  110, 150, 190, 233,  276,  323,  370,
                               422, 473, 530, 587, 650, 714, 786,  858,  940,  1023,
                               1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919};
static const int16_t qm2[4] = {-7408, -1616, 7408, 1616};
static const int16_t qm4[16] = {0,     -20456, -12896, -8968, -6288, -4240, -2584, -1200,
                                20456, 12896,  8968,   6288,  4240,  2584,  1200,  0};
static const int16_t qm6[64] = {
    -136,   -136,   -136,   -136,   -24808, -21904, -19008, -16704, -14984, -13512, -12280,
    -11192, -10232, -9360,  -8576,  -7856,  -7192,  -6576,  -6000,  -5456,  -4944,  -4464,
    -4008,  -3576,  -3168,  -2776,  -2400,  -2032,  -1688,  -1360,  -1040,  -728,   24808,
    21904,  19008,  16704,  14984,  13512,  12280,  11192,  10232,  9360,   8576,   7856,
    7192,   6576,   6000,   5456,   4944,   4464,   4008,   3576,   3168,   2776,   2400,
    2032,   1688,   1360,   1040,   728,    432,    136,    -432,   -136};
static const int16_t wl[8] = {-60, -30, 58, 172, 334, 538, 1198, 3042};
static const uint8_t rl42[16] = {0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0};
static const int16_t wh[3] = {0, -214, 798};
static const uint8_t rh2[4] = {2, 1, 2, 1};
static const int16_t ilb[32] = {2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543,
                                2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025, 3091, 3158, 3228,
                                3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008};

/* Blocks 3L and 3H: adaptation of the scale factor. */
static void scale(struct band *band, int32_t step, int32_t limit, int32_t shift)
{
    int32_t nb = (band->nb * 127 >> 7) + step;
    band->nb = nb < 0 ? 0 : nb > limit ? limit : nb;
    int32_t linear = ilb[band->nb >> 6 & 31];
    shift -= band->nb >> 11;
    band->det = (shift < 0 ? linear << -shift : linear >> shift) << 2;
}

/* Block 4: reconstruct, adapt the predictor, predict the next sample. */
static void predict(struct band *band, int32_t difference)
{
    int32_t r = saturate(band->s + difference);
    int32_t p = saturate(band->sz + difference);

    /* UPPOL2 */
    int32_t wd = saturate(band->a1 * 4);
    wd = (p < 0) == (band->p1 < 0) ? -wd : wd;
    if (wd > INT16_MAX)
        wd = INT16_MAX;
    wd = ((p < 0) == (band->p2 < 0) ? 128 : -128) + (wd >> 7) + (band->a2 * 32512 >> 15);
    int32_t a2 = wd > 12288 ? 12288 : wd < -12288 ? -12288 : wd;
    /* UPPOL1 */
    int32_t a1 = saturate(((p < 0) == (band->p1 < 0) ? 192 : -192) + (band->a1 * 32640 >> 15));
    int32_t bound = saturate(15360 - a2);
    a1 = a1 > bound ? bound : a1 < -bound ? -bound : a1;
    /* UPZERO */
    int32_t pull = difference == 0 ? 0 : 128;
    for (int i = 0; i < 6; i++)
        band->b[i] = saturate(((band->d[i] < 0) == (difference < 0) ? pull : -pull)
                              + (band->b[i] * 32640 >> 15));
    /* DELAYA */
    memmove(&band->d[1], &band->d[0], 5 * sizeof band->d[0]);
    band->d[0] = difference;
    band->r2 = band->r1;
    band->r1 = r;
    band->p2 = band->p1;
    band->p1 = p;
    band->a1 = a1;
    band->a2 = a2;
    /* FILTEP, FILTEZ, PREDIC */
    int32_t sp = saturate((a1 * saturate(band->r1 * 2) >> 15) + (a2 * saturate(band->r2 * 2) >> 15));
    int32_t sz = 0;
    for (int i = 5; i >= 0; i--)
        sz += band->b[i] * saturate(band->d[i] * 2) >> 15;
    band->sz = saturate(sz);
    band->s = saturate(sp + band->sz);
}

static void adapt_low(struct band *low, int code4)
{
    int32_t difference = low->det * qm4[code4] >> 15;
    scale(low, wl[rl42[code4]], 18432, 8);
    predict(low, difference);
}

static void adapt_high(struct band *high, int code2)
{
    int32_t difference = high->det * qm2[code2] >> 15;
    scale(high, wh[rh2[code2]], 22528, 10);
    predict(high, difference);
}

void g722_reset(int32_t *state)
{
    struct g722 *g722 = (struct g722 *)state;
    memset(state, 0, G722_STATE * sizeof *state);
    g722->low.det = 32;
    g722->high.det = 8;
}

static void shift_in(struct g722 *g722, int32_t first, int32_t second)
{
    memmove(&g722->delay[0], &g722->delay[2], 22 * sizeof g722->delay[0]);
    g722->delay[22] = first;
    g722->delay[23] = second;
}

void g722_encode(int32_t *state, const int16_t *pcm, size_t octets, uint8_t *out)
{
    struct g722 *g722 = (struct g722 *)state;
    struct band *low = &g722->low, *high = &g722->high;
    for (size_t n = 0; n < octets; n++) {
        shift_in(g722, pcm[2 * n], pcm[2 * n + 1]);
        int32_t even = 0, odd = 0;
        for (int i = 0; i < 12; i++) {
            odd += g722->delay[2 * i] * qmf[i];
            even += g722->delay[2 * i + 1] * qmf[11 - i];
        }
        /* SUBTRA, QUANTL */
        int32_t error = saturate(((even + odd) >> 14) - low->s);
        int32_t size = error >= 0 ? error : -(error + 1);
        int level = 1;
        while (level < 30 && size >= q6[level] * low->det >> 12)
            level++;
        /* Levels are numbered inward from the largest; the two smallest negative are apart. */
        int code = error >= 0 ? 62 - level : level < 3 ? 64 - level : 34 - level;
        adapt_low(low, code >> 2);
        /* SUBTRA, QUANTH */
        error = saturate(((even - odd) >> 14) - high->s);
        size = error >= 0 ? error : -(error + 1);
        int outer = size >= 564 * high->det >> 12;
        int code2 = error >= 0 ? (outer ? 2 : 3) : (outer ? 0 : 1);
        adapt_high(high, code2);
        out[n] = (uint8_t)(code2 << 6 | code);
    }
}

static int32_t limited(int32_t value)
{
    return value > 16383 ? 16383 : value < -16384 ? -16384 : value;
}

void g722_decode(int32_t *state, const uint8_t *data, size_t octets, int16_t *pcm)
{
    struct g722 *g722 = (struct g722 *)state;
    struct band *low = &g722->low, *high = &g722->high;
    for (size_t n = 0; n < octets; n++) {
        int code = data[n] & 0x3F, code2 = data[n] >> 6;
        int32_t rlow = limited(low->s + (low->det * qm6[code] >> 15));
        adapt_low(low, code >> 2);
        int32_t rhigh = limited(high->s + (high->det * qm2[code2] >> 15));
        adapt_high(high, code2);
        shift_in(g722, rlow + rhigh, rlow - rhigh);
        int32_t first = 0, second = 0;
        for (int i = 0; i < 12; i++) {
            second += g722->delay[2 * i] * qmf[i];
            first += g722->delay[2 * i + 1] * qmf[11 - i];
        }
        pcm[2 * n] = (int16_t)saturate(first >> 11);
        pcm[2 * n + 1] = (int16_t)saturate(second >> 11);
    }
}
