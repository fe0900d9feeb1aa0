/* CPython binding of G.722 and GSM: matrices in, matrices out, through the buffer protocol.
 *
 * The callers (g722.py, gsm.py) give contiguous numpy arrays; sizes are checked here, so that no
 * argument can make it read or write outside of them. The GIL is released while it works: nobody
 * else may change the arrays meanwhile.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "codecs.h"

struct job {
    Py_buffer rows, state, in, out;
    size_t count, states;
};

static void release(struct job *job)
{
    PyBuffer_Release(&job->rows);
    PyBuffer_Release(&job->state);
    PyBuffer_Release(&job->in);
    PyBuffer_Release(&job->out);
}

/* (rows int64, state int32, in, out): one line of in and out a row. */
static int parse(PyObject *args, struct job *job, size_t state_words, size_t in_unit,
                 size_t out_unit)
{
    if (!PyArg_ParseTuple(args, "y*w*y*w*", &job->rows, &job->state, &job->in, &job->out))
        return 0;
    job->count = (size_t)job->rows.len / sizeof(int64_t);
    job->states = (size_t)job->state.len / (state_words * sizeof(int32_t));
    size_t in = job->count ? (size_t)job->in.len / job->count : 0;
    size_t out = job->count ? (size_t)job->out.len / job->count : 0;
    int fits = in % in_unit == 0 && out % out_unit == 0 && in / in_unit == out / out_unit
               && in * job->count == (size_t)job->in.len
               && out * job->count == (size_t)job->out.len;
    for (size_t i = 0; fits && i < job->count; i++) {
        int64_t row = ((const int64_t *)job->rows.buf)[i];
        fits = row >= 0 && (size_t)row < job->states;
    }
    if (!fits) {
        release(job);
        PyErr_SetString(PyExc_ValueError, "sizes of rows, states and audio do not fit");
    }
    return fits;
}

static int32_t *state_of(const struct job *job, size_t i, size_t words)
{
    return (int32_t *)job->state.buf + (size_t)((const int64_t *)job->rows.buf)[i] * words;
}

static PyObject *reset(PyObject *args, size_t words, void (*one)(int32_t *))
{
    struct job job;
    if (!PyArg_ParseTuple(args, "y*w*", &job.rows, &job.state))
        return NULL;
    size_t count = (size_t)job.rows.len / sizeof(int64_t);
    size_t states = (size_t)job.state.len / (words * sizeof(int32_t));
    int fits = 1;
    for (size_t i = 0; fits && i < count; i++) {
        int64_t row = ((const int64_t *)job.rows.buf)[i];
        fits = row >= 0 && (size_t)row < states;
        if (fits)
            one(state_of(&job, i, words));
    }
    PyBuffer_Release(&job.rows);
    PyBuffer_Release(&job.state);
    if (!fits)
        return PyErr_Format(PyExc_ValueError, "a row is out of range");
    Py_RETURN_NONE;
}

static PyObject *py_g722_reset(PyObject *Py_UNUSED(self), PyObject *args)
{
    return reset(args, G722_STATE, g722_reset);
}

static PyObject *py_gsm_reset(PyObject *Py_UNUSED(self), PyObject *args)
{
    return reset(args, GSM_STATE, gsm_reset);
}

static PyObject *py_g722_encode(PyObject *Py_UNUSED(self), PyObject *args)
{
    struct job job;
    if (!parse(args, &job, G722_STATE, 2 * sizeof(int16_t), 1))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < job.count; i++) {
        size_t octets = (size_t)job.out.len / job.count;
        g722_encode(state_of(&job, i, G722_STATE),
                    (const int16_t *)job.in.buf + 2 * octets * i, octets,
                    (uint8_t *)job.out.buf + octets * i);
    }
    Py_END_ALLOW_THREADS
    release(&job);
    Py_RETURN_NONE;
}

static PyObject *py_g722_decode(PyObject *Py_UNUSED(self), PyObject *args)
{
    struct job job;
    if (!parse(args, &job, G722_STATE, 1, 2 * sizeof(int16_t)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < job.count; i++) {
        size_t octets = (size_t)job.in.len / job.count;
        g722_decode(state_of(&job, i, G722_STATE), (const uint8_t *)job.in.buf + octets * i,
                    octets, (int16_t *)job.out.buf + 2 * octets * i);
    }
    Py_END_ALLOW_THREADS
    release(&job);
    Py_RETURN_NONE;
}

static PyObject *py_gsm_encode(PyObject *Py_UNUSED(self), PyObject *args)
{
    struct job job;
    if (!parse(args, &job, GSM_STATE, GSM_FRAME * sizeof(int16_t), GSM_BYTES))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < job.count; i++) {
        size_t frames = (size_t)job.out.len / job.count / GSM_BYTES;
        for (size_t n = i * frames; n < (i + 1) * frames; n++)
            gsm_encode_frame(state_of(&job, i, GSM_STATE),
                             (const int16_t *)job.in.buf + n * GSM_FRAME,
                             (uint8_t *)job.out.buf + n * GSM_BYTES);
    }
    Py_END_ALLOW_THREADS
    release(&job);
    Py_RETURN_NONE;
}

/* Returns how many frames were none; their samples are zero. */
static PyObject *py_gsm_decode(PyObject *Py_UNUSED(self), PyObject *args)
{
    struct job job;
    size_t bad = 0;
    if (!parse(args, &job, GSM_STATE, GSM_BYTES, GSM_FRAME * sizeof(int16_t)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < job.count; i++) {
        size_t frames = (size_t)job.in.len / job.count / GSM_BYTES;
        for (size_t n = i * frames; n < (i + 1) * frames; n++) {
            int16_t *pcm = (int16_t *)job.out.buf + n * GSM_FRAME;
            if (!gsm_decode_frame(state_of(&job, i, GSM_STATE),
                                  (const uint8_t *)job.in.buf + n * GSM_BYTES, pcm)) {
                memset(pcm, 0, GSM_FRAME * sizeof *pcm);
                bad++;
            }
        }
    }
    Py_END_ALLOW_THREADS
    release(&job);
    return PyLong_FromSize_t(bad);
}

#define METHOD(name) {#name, py_##name, METH_VARARGS, NULL}

static PyMethodDef methods[] = {
    METHOD(g722_reset),  METHOD(g722_encode), METHOD(g722_decode), METHOD(gsm_reset),
    METHOD(gsm_encode),  METHOD(gsm_decode),  {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    return PyModule_AddIntConstant(module, "G722_STATE", G722_STATE) < 0
                   || PyModule_AddIntConstant(module, "GSM_STATE", GSM_STATE) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "media.codecs._codecs",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__codecs(void)
{
    return PyModuleDef_Init(&module);
}
