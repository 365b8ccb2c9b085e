/*
 * Sums of SHAKE-128 streams, the costly half of a state digest (streams.py beside this file).
 *
 * A pair (key, value) expands to the first 2,048 bytes of SHAKE-128 (FIPS 202) over
 *
 *     length of the key (4 bytes, big-endian) || key || value
 *
 * read as 1,024 big-endian lanes of 16 bits. `sum_pairs` gives the sum of the streams of many
 * pairs, lane by lane, modulo 2^16. Eight streams are made side by side, one in each 64-bit element
 * of a vector. The module is an accelerator: without it the same sums are made by `hashlib`.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if !defined(__x86_64__) || !defined(__GNUC__)
#error "vectors of eight pay off on x86-64 only; the package works without this module"
#endif

#define WAYS 8
#define RATE 168 /* bytes absorbed or squeezed by one permutation */
#define RATE_WORDS (RATE / 8)
#define STREAM 2048
#define STREAM_WORDS (STREAM / 8)

typedef uint64_t words __attribute__((vector_size(8 * WAYS)));
typedef uint16_t lanes __attribute__((vector_size(8 * WAYS)));

struct pair {
    unsigned char head[4];
    const unsigned char *key, *value;
    size_t key_size, value_size;
    size_t blocks; /* how many the padded message has; 0: nothing to expand */
};

static const uint64_t ROUND_CONSTANTS[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

#define ROTATE(x, n) (((x) << (n)) | ((x) >> (64 - (n))))
/* Theta's last step, rho and pi for one word: from `from` it goes to `to`, rotated by `n`. */
#define MOVE(to, from, n) b[to] = ROTATE(s[from] ^ d[(from) % 5], n)

static inline __attribute__((always_inline)) void permute(words s[25])
{
    for (int round = 0; round < 24; round++) {
        words b[25], c[5], d[5];
        for (int x = 0; x < 5; x++)
            c[x] = s[x] ^ s[x + 5] ^ s[x + 10] ^ s[x + 15] ^ s[x + 20];
        for (int x = 0; x < 5; x++)
            d[x] = c[(x + 4) % 5] ^ ROTATE(c[(x + 1) % 5], 1);
        b[0] = s[0] ^ d[0];
        MOVE(1, 6, 44);   MOVE(2, 12, 43);  MOVE(3, 18, 21);  MOVE(4, 24, 14);
        MOVE(5, 3, 28);   MOVE(6, 9, 20);   MOVE(7, 10, 3);   MOVE(8, 16, 45);
        MOVE(9, 22, 61);  MOVE(10, 1, 1);   MOVE(11, 7, 6);   MOVE(12, 13, 25);
        MOVE(13, 19, 8);  MOVE(14, 20, 18); MOVE(15, 4, 27);  MOVE(16, 5, 36);
        MOVE(17, 11, 10); MOVE(18, 17, 15); MOVE(19, 23, 56); MOVE(20, 2, 62);
        MOVE(21, 8, 55);  MOVE(22, 14, 39); MOVE(23, 15, 41); MOVE(24, 21, 2);
        for (int y = 0; y < 25; y += 5)
            for (int x = 0; x < 5; x++)
                s[y + x] = b[y + x] ^ (~b[y + (x + 1) % 5] & b[y + (x + 2) % 5]);
        s[0] ^= ROUND_CONSTANTS[round] - (words){0};
    }
}

/* Copy what a part of a message, which begins at `begin`, has in the block that begins at `start`. */
static void copy_part(unsigned char block[RATE], size_t start, size_t begin,
                      const unsigned char *part, size_t size)
{
    size_t from = begin > start ? begin : start;
    size_t end = begin + size < start + RATE ? begin + size : start + RATE;
    if (from < end)
        memcpy(block + (from - start), part + (from - begin), end - from);
}

static void fill_block(unsigned char block[RATE], const struct pair *pair, size_t number)
{
    size_t start = number * RATE, size = sizeof pair->head + pair->key_size + pair->value_size;
    memset(block, 0, RATE);
    copy_part(block, start, 0, pair->head, sizeof pair->head);
    copy_part(block, start, sizeof pair->head, pair->key, pair->key_size);
    copy_part(block, start, sizeof pair->head + pair->key_size, pair->value, pair->value_size);
    if (number == pair->blocks - 1) {
        block[size - start] ^= 0x1f;
        block[RATE - 1] ^= 0x80;
    }
}

/* Add the streams of up to eight pairs to `sums`. */
__attribute__((target_clones("avx512f", "avx2", "default")))
static void add_streams(words sums[STREAM_WORDS], const struct pair pairs[WAYS])
{
    words s[25] = {{0}}, is_used = {0};
    const words low = 0x00ff00ff00ff00ff - (words){0};
    size_t most = 0;
    for (int way = 0; way < WAYS; way++) {
        is_used[way] = pairs[way].blocks ? ~(uint64_t)0 : 0;
        most = pairs[way].blocks > most ? pairs[way].blocks : most;
    }
    for (size_t number = 0; number < most; number++) {
        words before[25], is_absorbing = {0};
        for (int way = 0; way < WAYS; way++) {
            unsigned char block[RATE];
            if (number >= pairs[way].blocks)
                continue;
            is_absorbing[way] = ~(uint64_t)0;
            fill_block(block, &pairs[way], number);
            for (int at = 0; at < RATE_WORDS; at++) {
                uint64_t word;
                memcpy(&word, block + 8 * at, 8);
                s[at][way] ^= word;
            }
        }
        memcpy(before, s, sizeof before);
        permute(s);
        /* A message that has ended waits for the longest one. */
        for (int at = 0; at < 25; at++)
            s[at] = (s[at] & is_absorbing) | (before[at] & ~is_absorbing);
    }
    for (int first = 0; first < STREAM_WORDS; first += RATE_WORDS) {
        if (first)
            permute(s);
        for (int at = 0; at < RATE_WORDS && first + at < STREAM_WORDS; at++) {
            words word = s[at] & is_used;
            word = ((word & low) << 8) | ((word >> 8) & low);
            sums[first + at] = (words)((lanes)sums[first + at] + (lanes)word);
        }
    }
}

/* The eight sums that stand side by side, in one, as bytes. */
static void join_sums(unsigned char stream[STREAM], const words sums[STREAM_WORDS])
{
    for (int at = 0; at < STREAM_WORDS; at++) {
        const lanes word = (lanes)sums[at];
        for (int lane = 0; lane < 4; lane++) {
            uint16_t sum = 0;
            for (int way = 0; way < WAYS; way++)
                sum = (uint16_t)(sum + word[4 * way + lane]);
            stream[8 * at + 2 * lane] = (unsigned char)(sum >> 8);
            stream[8 * at + 2 * lane + 1] = (unsigned char)sum;
        }
    }
}

static int read_pair(struct pair *pair, PyObject *item)
{
    char *key, *value;
    Py_ssize_t key_size, value_size;
    if (!PyTuple_Check(item) || PyTuple_Size(item) != 2) {
        PyErr_SetString(PyExc_TypeError, "a pair is a tuple of key and value");
        return -1;
    }
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(item, 0), &key, &key_size) ||
        PyBytes_AsStringAndSize(PyTuple_GetItem(item, 1), &value, &value_size))
        return -1;
    if ((uint64_t)key_size > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "the length of a key has four bytes");
        return -1;
    }
    for (int at = 0; at < 4; at++)
        pair->head[at] = (unsigned char)((uint64_t)key_size >> (24 - 8 * at));
    pair->key = (const unsigned char *)key;
    pair->value = (const unsigned char *)value;
    pair->key_size = (size_t)key_size;
    pair->value_size = (size_t)value_size;
    pair->blocks = (sizeof pair->head + pair->key_size + pair->value_size) / RATE + 1;
    return 0;
}

static PyObject *sum_pairs(PyObject *module, PyObject *pairs)
{
    words sums[STREAM_WORDS];
    struct pair group[WAYS];
    unsigned char stream[STREAM];
    (void)module;
    if (!PyList_Check(pairs)) {
        PyErr_SetString(PyExc_TypeError, "pairs are given as a list");
        return NULL;
    }
    memset(sums, 0, sizeof sums);
    for (Py_ssize_t start = 0; start < PyList_Size(pairs); start += WAYS) {
        memset(group, 0, sizeof group);
        for (Py_ssize_t at = start; at < start + WAYS && at < PyList_Size(pairs); at++)
            if (read_pair(&group[at - start], PyList_GetItem(pairs, at)))
                return NULL;
        add_streams(sums, group);
    }
    join_sums(stream, sums);
    return PyBytes_FromStringAndSize((const char *)stream, STREAM);
}

static PyMethodDef METHODS[] = {
    {"sum_pairs", sum_pairs, METH_O, "The sum, 2,048 bytes, of the streams of a list of pairs."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, .m_name = "_streams", .m_size = 0, .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__streams(void)
{
    if (!__builtin_cpu_supports("avx2")) {
        PyErr_SetString(PyExc_ImportError, "without AVX2, hashlib makes streams faster");
        return NULL;
    }
    return PyModule_Create(&MODULE);
}
