/* GSM 06.10 full rate (ETSI EN 300 961): LPC, long-term prediction, regular pulses. See codecs.h.
 *
 * Functions follow the clauses 4.2 (encoder) and 4.3 (decoder); variables keep their names there.
 */
#include <string.h>

#include "codecs.h"

struct gsm {
    int32_t z1, l_z2, mp;  /* 4.2.2 and 4.2.3: offset compensation, pre-emphasis */
    int32_t u[8];          /* 4.2.10: short-term analysis */
    int32_t v[9];          /* 4.3.4: short-term synthesis */
    int32_t lar[8];        /* decoded log-area ratios of the frame before */
    int32_t nrp, msr;      /* 4.3.2, 4.3.5 */
    int32_t residual[120]; /* reconstructed short-term residual, the newest last */
};

_Static_assert(sizeof(struct gsm) <= GSM_STATE * sizeof(int32_t), "state of a GSM direction");

struct subframe {
    int32_t nc, bc, mc, xmaxc, xmc[13];
};

static const int16_t H[11] = {-134, -374, 0, 2054, 5741, 8192, 5741, 2054, 0, -374, -134};
static const int16_t DLB[4] = {6554, 16384, 26214, 32767};
static const int16_t QLB[4] = {3277, 11469, 21299, 32767};
static const int16_t NRFAC[8] = {29128, 26215, 23832, 21846, 20165, 18725, 17476, 16384};
static const int16_t FAC[8] = {18431, 20479, 22527, 24575, 26623, 28671, 30719, 32767};
static const int16_t A[8] = {20480, 20480, 20480, 20480, 13964, 15360, 8534, 9036};
static const int16_t B[8] = {0, 0, 2048, -2560, 94, -1792, -341, -1144};
static const int16_t INVA[8] = {13107, 13107, 13107, 13107, 19223, 17476, 31454, 29708};
static const int16_t MIC[8] = {-32, -32, -16, -16, -8, -8, -4, -4};
static const int16_t MAC[8] = {31, 31, 15, 15, 7, 7, 3, 3};
static const uint8_t LAR_BITS[8] = {6, 6, 5, 5, 4, 4, 3, 3};

static int32_t mult(int32_t a, int32_t b)
{
    return a == INT16_MIN && b == INT16_MIN ? INT16_MAX : a * b >> 15;
}

static int32_t mult_r(int32_t a, int32_t b)
{
    return a == INT16_MIN && b == INT16_MIN ? INT16_MAX : (a * b + 16384) >> 15;
}

static int32_t magnitude(int32_t a)
{
    return a == INT16_MIN ? INT16_MAX : a < 0 ? -a : a;
}

static int64_t saturate32(int64_t value)
{
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value;
}

/* Left shifts that bring a positive number to 2^30 or more. */
static int norm(int64_t value)
{
    int shifts = 0;
    for (; value < (INT64_C(1) << 30); value <<= 1)
        shifts++;
    return shifts;
}

static int32_t quotient(int32_t numerator, int32_t denominator)
{
    int32_t result = 0;
    for (int k = 0; k < 15; k++) {
        result <<= 1;
        numerator <<= 1;
        if (numerator >= denominator) {
            numerator -= denominator;
            result++;
        }
    }
    return result;
}

/* -- encoder ------------------------------------------------------------------------------ */

static void preprocess(struct gsm *gsm, const int16_t *pcm, int32_t *s)
{
    for (int k = 0; k < GSM_FRAME; k++) {
        int32_t so = (pcm[k] >> 3) * 4;
        int32_t s1 = so - gsm->z1;
        gsm->z1 = so;
        int64_t l_s2 = (int64_t)s1 * 32768;
        int32_t msp = gsm->l_z2 >> 15;
        int32_t lsp = gsm->l_z2 - msp * 32768;
        l_s2 += mult_r(lsp, 32735);
        gsm->l_z2 = (int32_t)saturate32((int64_t)msp * 32735 + l_s2);
        int32_t emphasis = mult_r(gsm->mp, -28180);
        gsm->mp = (int32_t)(saturate32((int64_t)gsm->l_z2 + 16384) >> 15);
        s[k] = saturate(gsm->mp + emphasis);
    }
}

static void analyse(int32_t *s, int32_t *larc)
{
    int32_t smax = 0;
    for (int k = 0; k < GSM_FRAME; k++)
        if (magnitude(s[k]) > smax)
            smax = magnitude(s[k]);
    int shift = smax == 0 ? 0 : 4 - norm((int64_t)smax << 16);
    if (shift > 0)
        for (int k = 0; k < GSM_FRAME; k++)
            s[k] = mult_r(s[k], 16384 >> (shift - 1));
    int64_t l_acf[9];
    for (int lag = 0; lag < 9; lag++) {
        l_acf[lag] = 0;
        for (int k = lag; k < GSM_FRAME; k++)
            l_acf[lag] += (int64_t)s[k] * s[k - lag];
        l_acf[lag] *= 2;
    }
    if (shift > 0)
        for (int k = 0; k < GSM_FRAME; k++)
            s[k] = saturate(s[k] * (1 << shift));
    int32_t r[8] = {0};
    if (l_acf[0] != 0) {
        int32_t p[9], q[9];
        int up = norm(l_acf[0]);
        for (int i = 0; i < 9; i++)
            p[i] = q[i] = (int32_t)(l_acf[i] * (INT64_C(1) << up) >> 16);
        for (int n = 0; n < 8; n++) {
            if (p[0] < magnitude(p[1]))
                break;
            r[n] = quotient(magnitude(p[1]), p[0]);
            if (p[1] > 0)
                r[n] = -r[n];
            if (n == 7)
                break;
            p[0] = saturate(p[0] + mult_r(p[1], r[n]));
            for (int m = 1; m < 8 - n; m++) {
                int32_t next = p[m + 1];
                p[m] = saturate(next + mult_r(q[m], r[n]));
                q[m] = saturate(q[m] + mult_r(next, r[n]));
            }
        }
    }
    for (int i = 0; i < 8; i++) {
        int32_t size = magnitude(r[i]);
        if (size < 22118)
            size >>= 1;
        else if (size < 31130)
            size -= 11059;
        else
            size = (size - 26112) * 4;
        int32_t code = saturate(saturate(mult(A[i], r[i] < 0 ? -size : size) + B[i]) + 256) >> 9;
        larc[i] = code > MAC[i] ? MAC[i] - MIC[i] : code < MIC[i] ? 0 : code - MIC[i];
    }
}

/* 4.2.8 and 4.2.9: reflection coefficients for the sample k of a frame. */
static void coefficients(const int32_t *before, const int32_t *now, int k, int32_t *rp)
{
    for (int i = 0; i < 8; i++) {
        int32_t lar = now[i];
        if (k < 13)
            lar = saturate((before[i] >> 2) + (now[i] >> 2) + (before[i] >> 1));
        else if (k < 27)
            lar = saturate((before[i] >> 1) + (now[i] >> 1));
        else if (k < 40)
            lar = saturate((before[i] >> 2) + (now[i] >> 2) + (now[i] >> 1));
        int32_t size = magnitude(lar);
        if (size < 11059)
            size *= 2;
        else if (size < 20070)
            size += 11059;
        else
            size = saturate((size >> 2) + 26112);
        rp[i] = lar < 0 ? -size : size;
    }
}

static void decode_lar(const int32_t *larc, int32_t *lar)
{
    for (int i = 0; i < 8; i++) {
        int32_t value = saturate(saturate((larc[i] + MIC[i]) * 1024) - B[i] * 2);
        value = mult_r(INVA[i], value);
        lar[i] = saturate(value * 2);
    }
}

static int changes_at(int k)
{
    return k == 0 || k == 13 || k == 27 || k == 40;
}

static void short_term_analysis(struct gsm *gsm, const int32_t *larc, int32_t *s)
{
    int32_t now[8], rp[8];
    decode_lar(larc, now);
    for (int k = 0; k < GSM_FRAME; k++) {
        if (changes_at(k))
            coefficients(gsm->lar, now, k, rp);
        int32_t di = s[k], sav = s[k];
        for (int i = 0; i < 8; i++) {
            int32_t u = gsm->u[i];
            gsm->u[i] = sav;
            sav = saturate(u + mult_r(rp[i], di));
            di = saturate(di + mult_r(rp[i], u));
        }
        s[k] = di;
    }
    memcpy(gsm->lar, now, sizeof now);
}

static void long_term_predict(const int32_t *residual, const int32_t *d, struct subframe *out)
{
    int32_t dmax = 0, wt[40];
    for (int k = 0; k < 40; k++)
        if (magnitude(d[k]) > dmax)
            dmax = magnitude(d[k]);
    int up = dmax == 0 ? 6 : norm((int64_t)dmax << 16);
    int scale = up > 6 ? 0 : 6 - up;
    for (int k = 0; k < 40; k++)
        wt[k] = d[k] >> scale;
    int64_t l_max = 0, l_power = 0;
    out->nc = 40;
    for (int lag = 40; lag <= 120; lag++) {
        int64_t sum = 0;
        for (int k = 0; k < 40; k++)
            sum += (int64_t)wt[k] * residual[120 + k - lag];
        if (sum > l_max) {
            l_max = sum;
            out->nc = lag;
        }
    }
    l_max = l_max * 2 >> (6 - scale);
    for (int k = 0; k < 40; k++) {
        int64_t value = residual[120 + k - out->nc] >> 3;
        l_power += value * value;
    }
    l_power *= 2;
    if (l_max <= 0) {
        out->bc = 0;
    } else if (l_max >= l_power) {
        out->bc = 3;
    } else {
        int shift = norm(l_power);
        int32_t r = (int32_t)(l_max * (INT64_C(1) << shift) >> 16);
        int32_t s = (int32_t)(l_power * (INT64_C(1) << shift) >> 16);
        for (out->bc = 0; out->bc < 3; out->bc++)
            if (r <= mult(s, DLB[out->bc]))
                break;
    }
}

static void exponent_of(int32_t xmaxc, int32_t *exponent, int32_t *mantissa)
{
    int32_t exp = xmaxc > 15 ? (xmaxc >> 3) - 1 : 0;
    int32_t mant = xmaxc - exp * 8;
    if (mant == 0) {
        exp = -4;
        mant = 7;
    } else {
        for (; mant <= 7; exp--)
            mant = mant << 1 | 1;
        mant -= 8;
    }
    *exponent = exp;
    *mantissa = mant;
}

/* 4.2.16 and 4.2.17: the pulses as the decoder will have them. */
static void decode_pulses(const struct subframe *frame, int32_t *e)
{
    int32_t exponent, mantissa;
    exponent_of(frame->xmaxc, &exponent, &mantissa);
    int32_t shift = 6 - exponent;
    int32_t round = shift >= 1 ? 1 << (shift - 1) : 0;
    memset(e, 0, 40 * sizeof *e);
    for (int i = 0; i < 13; i++) {
        int32_t value = mult_r(FAC[mantissa], (2 * frame->xmc[i] - 7) * 4096);
        e[frame->mc + 3 * i] = saturate(value + round) >> shift;
    }
}

static void encode_pulses(const int32_t *e, struct subframe *out)
{
    int32_t x[40];
    int64_t best = -1;
    for (int k = 0; k < 40; k++) {
        int64_t sum = 4096;
        for (int i = 0; i < 11; i++)
            if (k + i >= 5 && k + i < 45)
                sum += (int64_t)e[k + i - 5] * H[i];
        sum >>= 13;
        x[k] = sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : (int32_t)sum;
    }
    for (int m = 0; m < 4; m++) {
        int64_t energy = 0;
        for (int i = 0; i < 13; i++)
            energy += (int64_t)(x[m + 3 * i] >> 2) * (x[m + 3 * i] >> 2);
        if (energy > best) {
            best = energy;
            out->mc = m;
        }
    }
    int32_t xmax = 0, exponent = 0, mantissa;
    for (int i = 0; i < 13; i++)
        if (magnitude(x[out->mc + 3 * i]) > xmax)
            xmax = magnitude(x[out->mc + 3 * i]);
    for (int32_t rest = xmax >> 9; rest > 0 && exponent < 6; rest >>= 1)
        exponent++;
    out->xmaxc = (xmax >> (exponent + 5)) + exponent * 8;
    exponent_of(out->xmaxc, &exponent, &mantissa);
    for (int i = 0; i < 13; i++) {
        int32_t value = (int16_t)(x[out->mc + 3 * i] * (1 << (6 - exponent)));
        out->xmc[i] = (mult(value, NRFAC[mantissa]) >> 12) + 4;
    }
}

/* -- frames ------------------------------------------------------------------------------- */

static void put(uint8_t *out, int *at, int32_t value, int bits)
{
    for (int bit = bits - 1; bit >= 0; bit--, ++*at)
        out[*at / 8] |= (uint8_t)((value >> bit & 1) << (7 - *at % 8));
}

static int32_t get(const uint8_t *data, int *at, int bits)
{
    int32_t value = 0;
    for (; bits > 0; bits--, ++*at)
        value = value << 1 | (data[*at / 8] >> (7 - *at % 8) & 1);
    return value;
}

/* 4.2.18, 4.3.2: append 40 samples to the residual. */
static void append(struct gsm *gsm, const int32_t *pulses, const int32_t *predicted)
{
    int32_t fresh[40];
    for (int k = 0; k < 40; k++)
        fresh[k] = saturate(pulses[k] + predicted[k]);
    memmove(gsm->residual, gsm->residual + 40, 80 * sizeof *fresh);
    memcpy(gsm->residual + 80, fresh, sizeof fresh);
}

void gsm_reset(int32_t *state)
{
    memset(state, 0, GSM_STATE * sizeof *state);
    ((struct gsm *)state)->nrp = 40;
}

void gsm_encode_frame(int32_t *state, const int16_t *pcm, uint8_t *out)
{
    struct gsm *gsm = (struct gsm *)state;
    int32_t s[GSM_FRAME], larc[8];
    int at = 0;
    memset(out, 0, GSM_BYTES);
    put(out, &at, 0xD, 4);
    preprocess(gsm, pcm, s);
    analyse(s, larc);
    short_term_analysis(gsm, larc, s);
    for (int i = 0; i < 8; i++)
        put(out, &at, larc[i], LAR_BITS[i]);
    for (int32_t *d = s; d < s + GSM_FRAME; d += 40) {
        struct subframe frame;
        int32_t predicted[40], e[40];
        long_term_predict(gsm->residual, d, &frame);
        for (int k = 0; k < 40; k++) {
            predicted[k] = mult_r(QLB[frame.bc], gsm->residual[120 + k - frame.nc]);
            e[k] = saturate(d[k] - predicted[k]);
        }
        encode_pulses(e, &frame);
        decode_pulses(&frame, e);
        append(gsm, e, predicted);
        put(out, &at, frame.nc, 7);
        put(out, &at, frame.bc, 2);
        put(out, &at, frame.mc, 2);
        put(out, &at, frame.xmaxc, 6);
        for (int i = 0; i < 13; i++)
            put(out, &at, frame.xmc[i], 3);
    }
}

int gsm_decode_frame(int32_t *state, const uint8_t *data, int16_t *pcm)
{
    struct gsm *gsm = (struct gsm *)state;
    int32_t larc[8], lar[8], rp[8], wt[GSM_FRAME];
    int at = 4;
    if (data[0] >> 4 != 0xD)
        return 0;
    for (int i = 0; i < 8; i++)
        larc[i] = get(data, &at, LAR_BITS[i]);
    for (int j = 0; j < GSM_FRAME; j += 40) {
        struct subframe frame;
        int32_t predicted[40];
        frame.nc = get(data, &at, 7);
        frame.bc = get(data, &at, 2);
        frame.mc = get(data, &at, 2);
        frame.xmaxc = get(data, &at, 6);
        for (int i = 0; i < 13; i++)
            frame.xmc[i] = get(data, &at, 3);
        if (frame.nc >= 40 && frame.nc <= 120)
            gsm->nrp = frame.nc;
        for (int k = 0; k < 40; k++)
            predicted[k] = mult_r(QLB[frame.bc], gsm->residual[120 + k - gsm->nrp]);
        decode_pulses(&frame, wt + j);
        append(gsm, wt + j, predicted);
        memcpy(wt + j, gsm->residual + 80, 40 * sizeof *wt);
    }
    decode_lar(larc, lar);
    for (int k = 0; k < GSM_FRAME; k++) {
        if (changes_at(k))
            coefficients(gsm->lar, lar, k, rp);
        int32_t sri = wt[k];
        for (int i = 7; i >= 0; i--) {
            sri = saturate(sri - mult_r(rp[i], gsm->v[i]));
            gsm->v[i + 1] = saturate(gsm->v[i] + mult_r(rp[i], sri));
        }
        gsm->v[0] = sri;
        gsm->msr = saturate(sri + mult_r(gsm->msr, 28180));
        pcm[k] = (int16_t)(saturate(gsm->msr * 2) & ~7);
    }
    memcpy(gsm->lar, lar, sizeof lar);
    return 1;
}
