/* CPython binding of the relay: values in, values out. `native.py` gives it its public face. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "loop.h"

typedef struct {
    PyObject_HEAD
    struct relay *relay; /* NULL once it was shut down */
} RelayObject;

static bool parse_host(const char *host, struct address *out)
{
    struct in6_addr v6;
    *out = (struct address){0};
    if (inet_pton(AF_INET, host, &out->low) == 1) {
        out->family = AF_INET;
    } else if (inet_pton(AF_INET6, host, &v6) == 1) {
        memcpy(&out->high, &v6.s6_addr[0], 8);
        memcpy(&out->low, &v6.s6_addr[8], 8);
        out->family = AF_INET6;
    } else {
        PyErr_Format(PyExc_ValueError, "%s is not a numeric host", host);
        return false;
    }
    return true;
}

/* (host, port), or None without an address. */
static PyObject *address_value(const struct address *address)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    if (address->family == 0)
        Py_RETURN_NONE;
    if (address->family == AF_INET) {
        inet_ntop(AF_INET, &address->low, text, sizeof text);
    } else {
        memcpy(&v6.s6_addr[0], &address->high, 8);
        memcpy(&v6.s6_addr[8], &address->low, 8);
        inet_ntop(AF_INET6, &v6, text, sizeof text);
    }
    return Py_BuildValue("(sI)", text, (unsigned)address->port);
}

/* O& converter: None or (host, port). */
static int optional_address(PyObject *value, void *out)
{
    struct address *address = out;
    const char *host;
    unsigned port;
    *address = (struct address){0};
    if (value == Py_None)
        return 1;
    if (!PyTuple_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "an address is None or (host, port)");
        return 0;
    }
    if (!PyArg_ParseTuple(value, "sI", &host, &port) || !parse_host(host, address))
        return 0;
    if (port > UINT16_MAX) {
        PyErr_Format(PyExc_ValueError, "%u is not a port", port);
        return 0;
    }
    address->port = (uint16_t)port;
    return 1;
}

static struct relay *running(RelayObject *self)
{
    if (self->relay == NULL)
        PyErr_SetString(PyExc_ValueError, "the relay is shut down");
    return self->relay;
}

static struct stream *find(RelayObject *self, unsigned long long handle)
{
    if (running(self) == NULL)
        return NULL;
    struct stream *stream = packet_lookup(&self->relay->table, handle);
    if (stream == NULL)
        PyErr_Format(PyExc_KeyError, "%llu", handle);
    return stream;
}

static PyObject *relay_object_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    unsigned workers;
    PyObject *hosts;
    if (!PyArg_ParseTuple(args, "IO!", &workers, &PyTuple_Type, &hosts))
        return NULL;
    if (workers > MAX_WORKERS) {
        PyErr_Format(PyExc_ValueError, "a relay has at most %d workers", (int)MAX_WORKERS);
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(hosts);
    struct address *local_hosts = calloc((size_t)count + 1, sizeof *local_hosts);
    if (local_hosts == NULL)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *host = PyUnicode_AsUTF8(PyTuple_GET_ITEM(hosts, i));
        if (host == NULL || !parse_host(host, &local_hosts[i])) {
            free(local_hosts);
            return NULL;
        }
    }
    RelayObject *self = (RelayObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        free(local_hosts);
        return NULL;
    }
    self->relay = relay_new(workers, local_hosts, (size_t)count);
    if (self->relay == NULL) {
        Py_DECREF(self);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

static PyObject *relay_object_shutdown(RelayObject *self, PyObject *Py_UNUSED(args))
{
    struct relay *relay = self->relay;
    self->relay = NULL; /* first: other threads may run while this one waits */
    if (relay != NULL) {
        Py_BEGIN_ALLOW_THREADS
        relay_shutdown(relay);
        relay_free(relay);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

static void relay_object_dealloc(RelayObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->relay != NULL) {
        relay_shutdown(self->relay);
        relay_free(self->relay);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *relay_object_open(RelayObject *self, PyObject *args)
{
    int fd;
    struct address local;
    if (!PyArg_ParseTuple(args, "iO&", &fd, optional_address, &local) || running(self) == NULL)
        return NULL;
    if (local.family == 0) {
        PyErr_SetString(PyExc_ValueError, "a stream needs its own address");
        return NULL;
    }
    uint64_t handle = relay_open(self->relay, fd, &local);
    if (handle == 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromUnsignedLongLong(handle);
}

static PyObject *relay_object_address(RelayObject *self, PyObject *argument)
{
    unsigned long long handle = PyLong_AsUnsignedLongLong(argument);
    if (PyErr_Occurred())
        return NULL;
    struct stream *stream = find(self, handle);
    return stream != NULL ? address_value(&stream->local) : NULL;
}

static PyObject *relay_object_is_own_port(RelayObject *self, PyObject *argument)
{
    struct address address;
    if (running(self) == NULL || !optional_address(argument, &address))
        return NULL;
    return PyBool_FromLong(address.family != 0
                           && packet_is_own_port(&self->relay->table, &address));
}

static PyObject *relay_object_configure(RelayObject *self, PyObject *args)
{
    unsigned long long handle, sink, rtcp_sink, rtp_stream, generation;
    int rtcp, mux, nat, asymmetric, enabled_in, enabled_out, early;
    struct address remote, signalling;
    Py_buffer payload_types;
    unsigned worst_rank, max_packets_per_s, max_packet_bytes, clock_rate, tap;
    double rebind_silence_s;
    if (!PyArg_ParseTuple(args, "KKKpKpO&O&ppIz*IIIKppdpI", &handle, &sink, &rtcp_sink, &rtcp,
                          &rtp_stream, &mux, optional_address, &remote, optional_address,
                          &signalling, &nat, &asymmetric, &worst_rank, &payload_types,
                          &max_packets_per_s, &max_packet_bytes, &clock_rate, &generation,
                          &enabled_in, &enabled_out, &rebind_silence_s, &early, &tap))
        return NULL;
    struct stream *stream = find(self, handle);
    struct config *config = NULL;
    if (stream == NULL)
        goto done;
    if ((payload_types.buf != NULL && payload_types.len != 16)
        || (remote.family != 0 && (remote.port == 0 || remote.family != stream->local.family))
        || max_packet_bytes >= DATAGRAM_BYTES) {
        /* check.py has refused these; the packet path must never meet them. */
        PyErr_SetString(PyExc_ValueError, "unchecked configuration");
        goto done;
    }
    config = calloc(1, sizeof *config);
    if (config == NULL || (tap != 0 && !relay_enable_taps(self->relay))) {
        free(config);
        config = NULL;
        PyErr_NoMemory();
        goto done;
    }
    *config = (struct config){
        .generation = generation,
        .sink = sink,
        .rtcp_sink = rtcp_sink,
        .rtp_stream = rtp_stream,
        .remote = remote,
        .signalling = signalling,
        .rebind_silence_s = rebind_silence_s,
        .max_packets_per_s = max_packets_per_s,
        .max_packet_bytes = max_packet_bytes,
        .clock_rate = clock_rate,
        .worst_rank = (uint8_t)worst_rank,
        .rtcp = rtcp,
        .mux = mux,
        .nat = nat,
        .asymmetric = asymmetric,
        .opaque = payload_types.buf == NULL,
        .enabled_in = enabled_in,
        .enabled_out = enabled_out,
        .early = early,
        .tap = tap,
    };
    if (payload_types.buf != NULL)
        for (unsigned type = 0; type < 128; type++)
            if (((const uint8_t *)payload_types.buf)[type / 8] >> (type % 8) & 1)
                config->payload_types[type / 64] |= UINT64_C(1) << (type % 64);
    relay_configure(self->relay, stream, config);
    relay_reclaim(self->relay, false);
done:
    PyBuffer_Release(&payload_types);
    if (config == NULL)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *stats_value(struct stream *stream, double now)
{
    struct stats stats;
    packet_stats(stream, &stats);
    PyObject *dropped = PyTuple_New(DROP_REASONS);
    if (dropped == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < DROP_REASONS; i++) {
        PyObject *count = PyLong_FromUnsignedLongLong(stats.dropped[i]);
        if (count == NULL) {
            Py_DECREF(dropped);
            return NULL;
        }
        PyTuple_SET_ITEM(dropped, i, count);
    }
    double age = now - stats.last_in_s;
    return Py_BuildValue("(KKKKKKNLdLKdKNL)", stats.packets_in, stats.bytes_in, stats.packets_out,
                         stats.bytes_out, stats.rtcp_in, stats.rtcp_out, dropped, stats.lost,
                         stats.jitter, stats.ssrc, stats.markers,
                         stats.last_in_s < 0.0 ? -1.0 : age < 0.0 ? 0.0 : age,
                         stats.source_changes, address_value(&stats.locked), stats.round_trip);
}

static PyObject *relay_object_stats(RelayObject *self, PyObject *args)
{
    unsigned long long handle;
    double now = -1.0;
    if (!PyArg_ParseTuple(args, "K|d", &handle, &now))
        return NULL;
    struct stream *stream = find(self, handle);
    return stream != NULL ? stats_value(stream, now < 0.0 ? relay_now() : now) : NULL;
}

static PyObject *relay_object_close(RelayObject *self, PyObject *args)
{
    PyObject *stats = relay_object_stats(self, args);
    if (stats == NULL)
        return NULL;
    relay_close(self->relay, find(self, PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(args, 0))));
    relay_reclaim(self->relay, false);
    return stats;
}

static PyObject *relay_object_reclaim(RelayObject *self, PyObject *Py_UNUSED(args))
{
    if (running(self) == NULL)
        return NULL;
    relay_reclaim(self->relay, true);
    Py_RETURN_NONE;
}

static PyObject *relay_object_events(RelayObject *self, PyObject *Py_UNUSED(args))
{
    if (running(self) == NULL)
        return NULL;
    struct relay *relay = self->relay;
    PyObject *list = PyList_New(0);
    uint64_t count;
    if (list == NULL)
        return NULL;
    /* Before the rings: what comes in between makes it readable again. */
    if (read(relay->event_fd, &count, sizeof count) < 0 && errno != EAGAIN) {
        Py_DECREF(list);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    for (unsigned i = 0; i < (relay->worker_count > 0 ? relay->worker_count : 1); i++) {
        struct ring *ring = &relay->workers[i].ring;
        unsigned head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        while (head != atomic_load_explicit(&ring->tail, memory_order_acquire)) {
            const struct event *event = &ring->events[head % RING_EVENTS];
            PyObject *value = Py_BuildValue("(iKNNK)", (int)event->kind, event->handle,
                                            address_value(&event->address),
                                            address_value(&event->old), event->dropped);
            if (value == NULL || PyList_Append(list, value) < 0) {
                Py_XDECREF(value);
                Py_DECREF(list);
                return NULL;
            }
            Py_DECREF(value);
            atomic_store_explicit(&ring->head, ++head, memory_order_release);
        }
    }
    return list;
}

static PyObject *relay_object_fileno(RelayObject *self, PyObject *Py_UNUSED(args))
{
    return running(self) != NULL ? PyLong_FromLong(self->relay->event_fd) : NULL;
}

/* Judge a datagram without sockets or threads: what the property tests drive. */
static PyObject *relay_object_inject(RelayObject *self, PyObject *args)
{
    unsigned long long handle;
    Py_buffer data;
    struct address source;
    double now;
    if (!PyArg_ParseTuple(args, "Ky*O&d", &handle, &data, optional_address, &source, &now))
        return NULL;
    PyObject *result = NULL;
    struct forward forward;
    struct stream *stream = find(self, handle);
    if (stream == NULL) {
    } else if (self->relay->worker_count > 0 || source.family == 0) {
        PyErr_SetString(PyExc_ValueError, "only a relay without workers, from an address");
    } else if (packet_receive(&self->relay->table, &self->relay->workers[0].ring, stream,
                              data.buf, (size_t)data.len, &source, now, &forward)) {
        packet_sent(&forward, (size_t)data.len);
        result = Py_BuildValue("(KNO)", forward.sink->handle, address_value(&forward.destination),
                               forward.control ? Py_True : Py_False);
    } else {
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&data);
    return result;
}

/* take(heads, payloads, stride): fill the buffers with tapped packets, return how many. */
static PyObject *relay_object_take(RelayObject *self, PyObject *args)
{
    Py_buffer heads, payloads;
    unsigned stride;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "w*w*I", &heads, &payloads, &stride))
        return NULL;
    if (running(self) != NULL) {
        size_t room = (size_t)heads.len / sizeof(struct frame_head);
        size_t rows = stride != 0 ? (size_t)payloads.len / stride : 0;
        size_t count = relay_take(self->relay, heads.buf, payloads.buf, stride,
                                  rows < room ? rows : room);
        result = PyLong_FromSize_t(count);
    }
    PyBuffer_Release(&heads);
    PyBuffer_Release(&payloads);
    return result;
}

/* send(handles, sizes, packets, stride, control): returns how many left. The GIL is kept: it is
 * what keeps a stream from being closed meanwhile. */
static PyObject *relay_object_send(RelayObject *self, PyObject *args)
{
    Py_buffer handles, sizes, packets;
    unsigned stride;
    int control;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*Ip", &handles, &sizes, &packets, &stride, &control))
        return NULL;
    size_t count = (size_t)handles.len / sizeof(uint64_t);
    if ((size_t)sizes.len / sizeof(uint16_t) < count || (size_t)packets.len < count * stride) {
        PyErr_SetString(PyExc_ValueError, "fewer sizes or packets than handles");
    } else if (running(self) != NULL) {
        size_t sent = 0;
        for (size_t i = 0; i < count; i++) {
            struct stream *stream
                = packet_lookup(&self->relay->table, ((const uint64_t *)handles.buf)[i]);
            uint16_t size = ((const uint16_t *)sizes.buf)[i];
            if (stream != NULL && size <= stride)
                sent += relay_send(self->relay, stream,
                                   (const uint8_t *)packets.buf + i * stride, size, control);
        }
        result = PyLong_FromSize_t(sent);
    }
    PyBuffer_Release(&handles);
    PyBuffer_Release(&sizes);
    PyBuffer_Release(&packets);
    return result;
}

#define METHOD(name, flags) {#name, (PyCFunction)relay_object_##name, flags, NULL}

static PyMethodDef relay_methods[] = {
    METHOD(open, METH_VARARGS),      METHOD(address, METH_O),
    METHOD(is_own_port, METH_O),     METHOD(configure, METH_VARARGS),
    METHOD(stats, METH_VARARGS),     METHOD(close, METH_VARARGS),
    METHOD(reclaim, METH_NOARGS),    METHOD(events, METH_NOARGS),
    METHOD(fileno, METH_NOARGS),     METHOD(shutdown, METH_NOARGS),
    METHOD(inject, METH_VARARGS),    METHOD(take, METH_VARARGS),
    METHOD(send, METH_VARARGS),      {NULL, NULL, 0, NULL},
};

static PyType_Slot relay_slots[] = {
    {Py_tp_new, relay_object_new},
    {Py_tp_dealloc, relay_object_dealloc},
    {Py_tp_methods, relay_methods},
    {0, NULL},
};

static PyType_Spec relay_spec = {
    .name = "media.native._relay.Relay",
    .basicsize = sizeof(RelayObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = relay_slots,
};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&relay_spec);
    return type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0 ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "media.native._relay",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__relay(void)
{
    return PyModuleDef_Init(&module);
}
