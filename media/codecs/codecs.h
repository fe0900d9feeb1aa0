/* Codecs whose recursion runs sample by sample: G.722 and GSM 06.10, for many streams in one call.
 *
 * Fed by media/codecs/g722.py and gsm.py with matrices; a state is a row of int32, the caller's.
 * numpy cannot do these in a tick: a step depends on the one before, 160 times a frame. No system
 * call, no allocation, no global state.
 */
#ifndef RINGLOG_CODECS_H
#define RINGLOG_CODECS_H

#include <stddef.h>
#include <stdint.h>

enum { G722_STATE = 72, GSM_STATE = 448, GSM_FRAME = 160, GSM_BYTES = 33 };

static inline int32_t saturate(int32_t value)
{
    return value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value;
}

void g722_reset(int32_t *state);
/* Two samples at 16 kHz an octet. */
void g722_encode(int32_t *state, const int16_t *pcm, size_t octets, uint8_t *out);
void g722_decode(int32_t *state, const uint8_t *data, size_t octets, int16_t *pcm);

void gsm_reset(int32_t *state);
/* One frame: 160 samples at 8 kHz, 33 octets (RFC 3551 §4.5.8). */
void gsm_encode_frame(int32_t *state, const int16_t *pcm, uint8_t *out);
/* False: no GSM frame (its first four bits are not 0xD); the state is unchanged. */
int gsm_decode_frame(int32_t *state, const uint8_t *data, int16_t *pcm);

#endif
