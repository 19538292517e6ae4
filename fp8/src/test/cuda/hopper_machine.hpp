// The instructions of Hopper that fp8_gemm_hopper.cu uses, in C++, written from the PTX ISA (section numbers of version 9):
// TMA with its swizzles, mbarriers with phases and bytes, wgmma from descriptors in shared memory to its accumulators'
// places, clusters with distributed shared memory, named barriers, stmatrix.
//
// What is asynchronous on the GPU is asynchronous here, and as unkind as the PTX ISA allows:
// - The target of a TMA load is NaN from the moment it is issued; the data come at once (EAGER), when nobody can go on
//   without them (LAZY), or at some time and in any order (RANDOM).
// - wgmma reads its operands, and a TMA store its source, as early or as late as a wait allows. Accumulators in flight
//   are NaN for the thread, and what it writes to them is lost.
// - wgmma and TMA see an ordinary write to shared memory only after its thread's fence.proxy.async, and other threads see
//   it only after its thread came to a barrier; or (half of the seeds) both see it at once.
// - A missing wgmma.fence, an arrival too many, a wait that nobody can end, an access to a block that has ended or
//   outside of shared memory, a store not waited for: errors that name the thread.
//
// All threads of a cluster are fibres of one operating system thread, in an order that is shuffled by the seed. For half of
// the seeds one warpgroup, or a block of a cluster, goes on only when nobody else can.
#pragma once

#include <map>
#include <random>

#include "host_cuda.hpp"

namespace octet_hopper {

using octet_host::Context;
using octet_host::format;

enum Timing { EAGER, LAZY, RANDOM };

/// What an encoded tensor map says (cuTensorMapEncodeTiled). The contiguous dimension comes first.
struct Map {
    unsigned char* base;
    uint64_t dims[3];
    uint64_t strides[2];    // bytes, of dimensions 1 and 2
    uint32_t box[3];
    uint32_t rank;
    uint32_t element;       // bytes
    uint32_t swizzle;       // 0, 32, 64, 128
    uint32_t magic;
};
static_assert(sizeof(Map) <= 128);
constexpr uint32_t MAGIC = 0x0c7e7;

/// The rules of cuTensorMapEncodeTiled. Returns what is broken, or null.
inline const char* encode(void* to, uint32_t element, uint32_t rank, void* base, const uint64_t* dims,
        const uint64_t* strides, const uint32_t* box, uint32_t swizzle) {
    Map m = {static_cast<unsigned char*>(base), {1, 1, 1}, {0, 0}, {1, 1, 1}, rank, element, swizzle, MAGIC};
    if (rank < 1 || rank > 3) {
        return "rank";
    }
    if (reinterpret_cast<uintptr_t>(base) % 16) {
        return "address is not a multiple of 16";
    }
    for (uint32_t i = 0; i < rank; i++) {
        m.dims[i] = dims[i];
        m.box[i] = box[i];
        if (dims[i] < 1 || dims[i] > 1ull << 32) {
            return "dimension";
        }
        if (box[i] < 1 || box[i] > 256) {
            return "box";
        }
        if (i > 0) {
            m.strides[i - 1] = strides[i - 1];
            if (strides[i - 1] % 16 || strides[i - 1] >= 1ull << 40) {
                return "stride is not a multiple of 16 below 2^40";
            }
            if (strides[i - 1] < (i > 1 ? strides[i - 2] * dims[i - 1] : dims[0] * element)) {
                return "stride is shorter than what lies below it";
            }
        }
    }
    if (box[0] * element % 16) {
        return "box line is not a multiple of 16 bytes";
    }
    if (swizzle && box[0] * element > swizzle) {
        return "box line is longer than the swizzle";
    }
    memset(to, 0, 128);
    memcpy(to, &m, sizeof m);
    return nullptr;
}

constexpr unsigned SHARED_BASE = 1024;    // dynamic shared memory does not begin at 0
constexpr unsigned PEER_SHIFT = 24;       // a shared::cluster address names its block from this bit on, as rank + 1
constexpr unsigned THREADS = 384;

struct Barrier {
    bool valid = false;
    unsigned arrivals = 0, pending = 0;
    long bytes = 0;
    uint64_t phase = 0;
};

struct Load {
    Map map;
    int at[3];
    unsigned to, barrier, mask;
};

struct Store {
    Map map;
    int at[3];
    unsigned from;
    bool committed = false, done = false;
};

/// Accumulators on their way: what the registers of one thread will be.
struct Flight {
    float* registers;
    std::vector<float> values;
    size_t last;              // the last wgmma on them
};

struct Write {
    unsigned at;
    uint32_t value;
};

struct Thread;
struct Wgmma {
    unsigned long long left = 0, right = 0;
    int accumulate = 0, columns = 0;
    bool leftE5m2 = false, rightE5m2 = false, done = false;
    unsigned issued = 0;
    Thread* threads[128];
    float* registers[128];
};

struct Block;
struct Thread {
    Context context;
    Block* block = nullptr;
    unsigned index = 0;
    bool started = false, done = false, fenced = false;
    const char* waiting = nullptr;
    long detail = 0;
    std::vector<Store> stores;
    std::vector<Flight> flights;
    size_t issued = 0;
    std::vector<size_t> groups;    // for each committed group, the number of wgmma up to its end
    std::vector<Write> hidden;     // written, not yet seen by other threads
    std::vector<unsigned> unfenced;
};

struct Meeting {
    unsigned arrived = 0, expected = 0, generation = 0;
};

struct WarpMeeting {
    unsigned arrived = 0, generation = 0;
    uint64_t values[32][5], results[32][5];
};

struct Block {
    unsigned rank = 0, index = 0, done = 0;
    std::vector<unsigned char> shared, async;    // as threads see it; as TMA and wgmma see it
    std::map<unsigned, Barrier> barriers;
    Meeting named[16];
    WarpMeeting warps[THREADS / 32];
    std::vector<Wgmma> wgmmas[THREADS / 128];
    size_t executed[THREADS / 128] = {};
    std::vector<Thread> threads{THREADS};
};

struct Machine {
    unsigned grid = 1, cluster = 1, sharedBytes = 0;
    Timing timing = LAZY;
    bool promptWrites = false;
    std::mt19937 random;
    std::string error;
    std::vector<Block> blocks;
    std::vector<Load> loads;
    Meeting all;
    Context scheduler;
    Thread* current = nullptr;
    size_t events = 0;
    void (*body)(void*) = nullptr;
    void* argument = nullptr;
};

inline Machine machine;

inline std::string name(const Thread& t) {
    return format("thread %u of block %u", t.index, t.block->index);
}

[[noreturn]] inline void fail(const std::string& message) {
    if (machine.error.empty()) {
        machine.error = name(*machine.current) + ": " + message;
    }
    for (;;) {
        Context::change(machine.current->context, machine.scheduler);
    }
}

template <class Ready>
inline void wait(const char* what, long detail, Ready ready) {
    Thread& t = *machine.current;
    while (!ready()) {
        t.waiting = what;
        t.detail = detail;
        Context::change(t.context, machine.scheduler);
    }
    t.waiting = nullptr;
    machine.events++;
}

inline Block& own() { return *machine.current->block; }

/// The block that an address names, and the place in its memory.
inline Block& owner(unsigned address, unsigned bytes, unsigned& at) {
    unsigned tag = address >> PEER_SHIFT;
    at = address & ((1u << PEER_SHIFT) - 1);
    if (tag > machine.cluster) {
        fail(format("shared memory address %08x", address));
    }
    Block& b = tag ? machine.blocks[tag - 1] : own();
    if (at < SHARED_BASE || at + bytes > SHARED_BASE + machine.sharedBytes || at % std::min(bytes, 16u)) {
        fail(format("shared memory address %08x of %u bytes, there are %u", address, bytes, machine.sharedBytes));
    }
    if (b.done == THREADS) {
        fail(format("access to the shared memory of block %u, which has ended", b.index));
    }
    return b;
}

/// Other threads see what this one has written.
inline void publish() {
    Thread& t = *machine.current;
    for (Write w : t.hidden) {
        memcpy(&t.block->shared[w.at], &w.value, 4);
    }
    t.hidden.clear();
}

inline void write(unsigned address, uint32_t value) {
    unsigned at;
    Block& b = owner(address, 4, at);
    if (&b != &own()) {
        fail("ordinary write to another block");
    }
    if (machine.promptWrites) {
        memcpy(&b.shared[at], &value, 4);
        memcpy(&b.async[at], &value, 4);
        return;
    }
    machine.current->hidden.push_back({at, value});
    machine.current->unfenced.push_back(at);
}

// ------------------------------------------------------------------------------------------------ mbarrier

inline Barrier& barrier_at(unsigned address, Block** block = nullptr) {
    unsigned at;
    Block& b = owner(address, 8, at);
    Barrier& m = b.barriers[at];
    if (!m.valid) {
        fail(format("no mbarrier at %08x", address));
    }
    if (block) {
        *block = &b;
    }
    return m;
}

/// A phase ends when no arrivals and no bytes are pending; the next one begins with the count of init.
inline void settle(Barrier& m) {
    if (m.pending == 0 && m.bytes == 0) {
        m.phase++;
        m.pending = m.arrivals;
    }
    machine.events++;
}

inline void arrive(Barrier& m) {
    if (m.pending == 0) {
        fail("arrival too many at an mbarrier");
    }
    m.pending--;
    settle(m);
}

inline void complete_bytes(Barrier& m, long bytes) {
    m.bytes -= bytes;
    if (m.bytes < -((1 << 20) - 1)) {
        fail("more bytes than an mbarrier counts");
    }
    settle(m);
}

inline void wait_parity(unsigned address, unsigned parity) {
    Barrier& m = barrier_at(address);
    // The phase of this parity has ended when the current one has the other parity.
    wait("mbarrier %ld", address, [&m, parity] { return (m.phase & 1) != parity; });
}

// ------------------------------------------------------------------------------------------------ TMA: cp.async.bulk.tensor, swizzling modes

/// Swizzling modes: 16-byte chunks change places by the address bits from 7 on; the pattern repeats after 8 of the mode's
/// lines of 128 bytes (1024, 512, 256 bytes).
inline unsigned swizzled(unsigned address, unsigned mode) {
    unsigned bits = mode == 128 ? 7 : mode == 64 ? 3 : mode == 32 ? 1 : 0;
    return address ^ ((address >> 7 & bits) << 4);
}

template <class Visit>
inline void box(const Map& m, const int* at, unsigned shared, Visit visit) {
    unsigned line = m.box[0] * m.element;
    unsigned offset = 0;
    for (unsigned z = 0; z < m.box[2]; z++) {
        for (unsigned y = 0; y < m.box[1]; y++) {
            int64_t row = int64_t(at[1]) + y, plane = int64_t(at[2]) + z;
            bool inside = row >= 0 && row < int64_t(m.dims[1]) && plane >= 0 && plane < int64_t(m.dims[2]);
            for (unsigned b = 0; b < line; b += m.element, offset += m.element) {
                int64_t x = int64_t(at[0]) + b / m.element;
                unsigned char* global = inside && x >= 0 && x < int64_t(m.dims[0])
                        ? m.base + x * m.element + row * m.strides[0] + plane * m.strides[1] : nullptr;
                visit(swizzled(shared + offset, m.swizzle), global);
            }
        }
    }
}

inline Map map_at(const void* map, unsigned rank) {
    Map m;
    if (reinterpret_cast<uintptr_t>(map) % 64) {
        fail("tensor map is not aligned to 64 bytes");
    }
    memcpy(&m, map, sizeof m);
    if (m.magic != MAGIC || m.rank != rank) {
        fail(format("tensor map of rank %u, an instruction of rank %u", m.magic == MAGIC ? m.rank : 0, rank));
    }
    return m;
}

inline unsigned box_bytes(const Map& m) { return m.box[0] * m.box[1] * m.box[2] * m.element; }

inline void perform(const Load& load) {
    for (unsigned r = 0; r < machine.cluster; r++) {
        if (!(load.mask >> r & 1)) {
            continue;
        }
        Block& b = machine.blocks[r];
        if (b.done == THREADS) {
            machine.error = format("a TMA load fills block %u, which has ended", b.index);
            return;
        }
        box(load.map, load.at, load.to, [&](unsigned at, unsigned char* global) {
            unsigned char zero[4] = {};
            memcpy(&b.shared[at], global ? global : zero, load.map.element);
            memcpy(&b.async[at], global ? global : zero, load.map.element);
        });
        Barrier& m = b.barriers[load.barrier];
        if (!m.valid) {
            machine.error = format("a TMA load of block %u has no mbarrier", b.index);
            return;
        }
        m.bytes -= box_bytes(load.map);
        settle(m);
    }
}

inline void load(unsigned to, const void* map, unsigned rank, unsigned barrier, const int* at, unsigned mask) {
    Load l = {map_at(map, rank), {at[0], at[1], rank > 2 ? at[2] : 0}, 0, 0, mask};
    unsigned bytes = box_bytes(l.map);
    owner(to, bytes, l.to);
    owner(barrier, 8, l.barrier);
    if (l.to % 128 || (l.map.swizzle && l.map.box[0] * l.map.element != l.map.swizzle)) {
        fail(format("TMA load to %08x", to));
    }
    if (mask == 0 || mask >> machine.cluster) {
        fail(format("TMA load to blocks %x of a cluster of %u", mask, machine.cluster));
    }
    for (unsigned r = 0; r < machine.cluster; r++) {
        if (mask >> r & 1) {
            memset(&machine.blocks[r].shared[l.to], 0xFF, bytes);
            memset(&machine.blocks[r].async[l.to], 0xFF, bytes);
        }
    }
    if (machine.timing == EAGER) {
        perform(l);
    } else {
        machine.loads.push_back(l);
    }
}

inline void perform(Thread& t, Store& s) {
    box(s.map, s.at, s.from, [&](unsigned at, unsigned char* global) {
        if (global) {
            memcpy(global, &t.block->async[at], s.map.element);
        }
    });
    s.done = true;
}

inline void store(const void* map, unsigned from, int x, int y) {
    Store s = {map_at(map, 2), {x, y, 0}, 0};
    owner(from, box_bytes(s.map), s.from);
    if (s.from % 128 || (s.map.swizzle && s.map.box[0] * s.map.element != s.map.swizzle)) {
        fail(format("TMA store from %08x", from));
    }
    machine.current->stores.push_back(s);
    if (machine.timing == EAGER) {
        perform(*machine.current, machine.current->stores.back());
    }
}

inline void store_wait() {
    for (Store& s : machine.current->stores) {
        if (!s.committed) {
            fail("TMA store of no group");
        }
        if (!s.done) {
            perform(*machine.current, s);
        }
    }
    machine.current->stores.clear();
}

// ------------------------------------------------------------------------------------------------ wgmma, 9.7.15

inline float decode(unsigned char code, bool e5m2) {
    int exponentBits = e5m2 ? 5 : 4, mantissaBits = 7 - exponentBits, bias = e5m2 ? 15 : 7;
    int exponent = code >> mantissaBits & ((1 << exponentBits) - 1), mantissa = code & ((1 << mantissaBits) - 1);
    float sign = code & 0x80 ? -1.0f : 1.0f;
    if (e5m2 && exponent == 31) {
        return mantissa ? NAN : sign * INFINITY;
    }
    if (!e5m2 && (code & 0x7F) == 0x7F) {
        return NAN;
    }
    return sign * (exponent ? ldexpf(float(mantissa + (1 << mantissaBits)), exponent - bias - mantissaBits)
                            : ldexpf(float(mantissa), 1 - bias - mantissaBits));
}

inline const float* codes(bool e5m2) {
    static float table[2][256];
    static bool ready = [] {
        for (int i = 0; i < 512; i++) {
            table[i >> 8][i & 255] = decode((unsigned char) i, i >> 8 != 0);
        }
        return true;
    }();
    (void) ready;
    return table[e5m2];
}

/// Matrix descriptor, 9.7.15.5.1.2.2: bits 0-13 the address, 16-29 the leading offset, 32-45 the stride offset, each / 16;
/// 49-51 the base offset; 62-63 the swizzle: none, 128, 64, 32 bytes. K-major with 128 bytes: rows of 128 bytes in groups
/// of 8, the groups a stride offset apart; the swizzle is that of addresses, as TMA's.
inline void operand(const Block& b, unsigned long long d, int rows, bool e5m2, float* out) {
    unsigned start = unsigned(d & 0x3FFF) << 4, stride = unsigned(d >> 32 & 0x3FFF) << 4;
    if (d >> 62 != 1 || (d >> 49 & 7) != 0) {
        fail(format("matrix descriptor %016llx", d));
    }
    const float* table = codes(e5m2);
    for (int r = 0; r < rows; r++) {
        for (int k = 0; k < 32; k++) {
            unsigned at = swizzled(start + r / 8 * stride + r % 8 * 128 + k, 128);
            if (at < SHARED_BASE || at >= SHARED_BASE + machine.sharedBytes) {
                fail(format("matrix descriptor %016llx leaves shared memory", d));
            }
            out[r * 32 + k] = table[b.async[at]];
        }
    }
}

inline Flight* flight(Thread& t, float* registers) {
    for (Flight& f : t.flights) {
        if (f.registers == registers) {
            return &f;
        }
    }
    return nullptr;
}

inline void execute(Block& b, unsigned group, size_t index) {
    Wgmma& w = b.wgmmas[group][index];
    int n = w.columns;
    static float left[64 * 32], right[256 * 32], turned[32 * 256], sums[64 * 256];
    operand(b, w.left, 64, w.leftE5m2, left);
    operand(b, w.right, n, w.rightE5m2, right);
    for (int c = 0; c < n; c++) {
        for (int k = 0; k < 32; k++) {
            turned[k * n + c] = right[c * 32 + k];
        }
    }
    for (int r = 0; r < 64; r++) {
        float* s = sums + r * n;
        std::fill(s, s + n, 0.0f);
        for (int k = 0; k < 32; k++) {
            float a = left[r * 32 + k];
            const float* row = turned + k * n;
            for (int c = 0; c < n; c++) {
                s[c] += a * row[c];
            }
        }
    }
    // D, 9.7.15.5.1.1: row 16 (warp % 4) + lane / 4 + 8 for every second pair; column 8 (i / 4) + 2 (lane % 4) + i % 2.
    for (int t = 0; t < 128; t++) {
        Flight* f = flight(*w.threads[t], w.registers[t]);
        for (int i = 0; i < n / 2; i++) {
            int row = 16 * (t / 32) + t % 32 / 4 + (i / 2 % 2 ? 8 : 0), column = i / 4 * 8 + t % 4 * 2 + i % 2;
            float v = sums[row * n + column];
            f->values[i] = w.accumulate ? f->values[i] + v : v;
        }
    }
    w.done = true;
    b.executed[group] = index + 1;
    machine.events++;
}

template <int N, bool LEFT_E5M2, bool RIGHT_E5M2>
inline void wgmma(float (&d)[N / 2], unsigned long long left, unsigned long long right, int accumulate) {
    Thread& t = *machine.current;
    Block& b = *t.block;
    unsigned group = t.index / 128;
    if (!t.fenced) {
        fail("wgmma without a wgmma.fence after registers may have changed");
    }
    size_t index = t.issued++;
    if (b.wgmmas[group].size() <= index) {
        b.wgmmas[group].emplace_back();
    }
    Wgmma& w = b.wgmmas[group][index];
    if (w.issued && (w.left != left || w.right != right || w.accumulate != accumulate || w.columns != N)) {
        fail("threads of a warpgroup disagree about a wgmma");
    }
    w.left = left;
    w.right = right;
    w.accumulate = accumulate;
    w.columns = N;
    w.leftE5m2 = LEFT_E5M2;
    w.rightE5m2 = RIGHT_E5M2;
    w.threads[t.index % 128] = &t;
    w.registers[t.index % 128] = d;
    w.issued++;
    Flight* f = flight(t, d);
    if (!f) {
        t.flights.push_back({d, std::vector<float>(d, d + N / 2), index});
        std::fill(d, d + N / 2, NAN);
    } else {
        f->last = index;
    }
    machine.events++;
    while (machine.timing == EAGER && b.executed[group] < b.wgmmas[group].size()
            && b.wgmmas[group][b.executed[group]].issued == 128) {
        execute(b, group, b.executed[group]);
    }
}

/// All but the last `pending` groups of this thread have ended: its registers have their results.
inline void wait_groups(size_t pending) {
    Thread& t = *machine.current;
    Block& b = *t.block;
    unsigned group = t.index / 128;
    t.fenced = false;
    if (t.groups.empty() ? t.issued > 0 : t.issued > t.groups.back()) {
        fail("wgmma of no group");
    }
    if (t.groups.size() <= pending) {
        return;
    }
    size_t need = t.groups[t.groups.size() - 1 - pending];
    wait("wgmma.wait_group", 0, [&] {
        return b.executed[group] >= need || b.wgmmas[group][need - 1].issued == 128;
    });
    while (b.executed[group] < need) {
        execute(b, group, b.executed[group]);
    }
    for (size_t i = 0; i < t.flights.size();) {
        Flight& f = t.flights[i];
        if (f.last < need) {
            std::copy(f.values.begin(), f.values.end(), f.registers);
            t.flights.erase(t.flights.begin() + i);
        } else {
            i++;
        }
    }
}

// ------------------------------------------------------------------------------------------------ barriers, warps

inline void meet(Meeting& m, unsigned expected, const char* what, long id) {
    publish();
    if (m.arrived && m.expected != expected) {
        fail(format("barrier %ld of %u threads, others wait for %u", id, expected, m.expected));
    }
    m.expected = expected;
    machine.events++;
    if (++m.arrived == expected) {
        m.arrived = 0;
        m.generation++;
        return;
    }
    unsigned mine = m.generation;
    wait(what, id, [&m, mine] { return m.generation != mine; });
}

inline const uint64_t (*exchange(const uint64_t (&values)[5]))[5] {
    Thread& t = *machine.current;
    WarpMeeting& m = t.block->warps[t.index / 32];
    memcpy(m.values[t.index % 32], values, sizeof values);
    machine.events++;
    if (++m.arrived == 32) {
        memcpy(m.results, m.values, sizeof m.values);
        m.arrived = 0;
        m.generation++;
        return m.results;
    }
    unsigned mine = m.generation;
    wait("a warp's collective", 0, [&m, mine] { return m.generation != mine; });
    return m.results;
}

// ------------------------------------------------------------------------------------------------ the machine

inline void enter() {
    Thread& t = *machine.current;
    machine.body(machine.argument);
    publish();
    if (!t.stores.empty() && machine.error.empty()) {
        machine.error = name(t) + " ends before its TMA stores have read shared memory";
    }
    if (!t.flights.empty() && machine.error.empty()) {
        machine.error = name(t) + " ends with wgmma in flight";
    }
    t.done = true;
    t.block->done++;
    machine.events++;
    for (;;) {
        Context::change(t.context, machine.scheduler);
    }
}

inline bool complete_one_load() {
    if (machine.loads.empty()) {
        return false;
    }
    size_t i = machine.random() % machine.loads.size();
    Load l = machine.loads[i];
    machine.loads.erase(machine.loads.begin() + i);
    perform(l);
    return true;
}

inline void do_something_at_random() {
    if (machine.random() % 4 == 0) {
        complete_one_load();
    }
    Block& b = machine.blocks[machine.random() % machine.blocks.size()];
    unsigned g = machine.random() % (THREADS / 128);
    if (machine.random() % 4 == 0 && b.executed[g] < b.wgmmas[g].size() && b.wgmmas[g][b.executed[g]].issued == 128) {
        execute(b, g, b.executed[g]);
    }
    Thread& t = b.threads[machine.random() % THREADS / 128 * 128];
    for (Store& s : t.stores) {
        if (!s.done && s.committed && machine.random() % 4 == 0) {
            perform(t, s);
        }
    }
}

inline void report_deadlock() {
    std::map<std::string, unsigned> waiting;
    for (Block& b : machine.blocks) {
        for (Thread& t : b.threads) {
            if (!t.done) {
                waiting[format("block %u warpgroup %u at ", b.index, t.index / 128)
                        + (t.waiting ? format(t.waiting, t.detail) : std::string("nothing"))]++;
            }
        }
    }
    machine.error = "deadlock:";
    for (auto& [what, count] : waiting) {
        machine.error += format(" %u threads of %s;", count, what.c_str());
    }
}

inline void run_cluster(unsigned first, octet_host::Stacks& stacks) {
    machine.blocks = std::vector<Block>(machine.cluster);
    machine.loads.clear();
    machine.all = {};
    std::vector<Thread*> order;
    for (unsigned r = 0; r < machine.cluster; r++) {
        Block& b = machine.blocks[r];
        b.rank = r;
        b.index = first + r;
        b.shared.assign(SHARED_BASE + machine.sharedBytes, 0xFF);
        b.async = b.shared;
        for (unsigned i = 0; i < THREADS; i++) {
            Thread& t = b.threads[i];
            t.block = &b;
            t.index = i;
            char* stack = stacks.get(r * THREADS + i);
            t.context.make(stack + octet_host::Stacks::GUARD, octet_host::Stacks::SIZE - octet_host::Stacks::GUARD, enter);
            order.push_back(&t);
        }
    }
    std::shuffle(order.begin(), order.end(), machine.random);
    // Who is last in everything: a block of the cluster, or a warpgroup of the only one.
    unsigned last = machine.random(), span = machine.cluster > 1 ? THREADS : 128;
    bool lags = last & 1, catchUp = false;
    last = last / 2 % (machine.cluster * THREADS / span);
    while (!order.empty()) {
        size_t before = machine.events, alive = 0;
        for (Thread* t : order) {
            if (lags && !catchUp && (t->block->rank * THREADS + t->index) / span == last) {
                order[alive++] = t;
                continue;
            }
            machine.current = t;
            Context::change(machine.scheduler, t->context);
            if (!machine.error.empty()) {
                return;
            }
            if (!t->done) {
                order[alive++] = t;
            }
            if (machine.timing == RANDOM && machine.random() % 64 == 0) {
                do_something_at_random();
            }
        }
        order.resize(alive);
        if (machine.events != before) {
            catchUp = false;
        } else if (lags && !catchUp) {
            catchUp = true;
        } else if (alive && !complete_one_load()) {
            report_deadlock();
            return;
        }
    }
    if (!machine.loads.empty()) {
        machine.error = "TMA loads that nobody waited for";
    }
}

/// Runs a kernel; returns what went wrong, or nothing.
template <class Kernel>
inline std::string run(unsigned grid, unsigned cluster, unsigned sharedBytes, Timing timing, unsigned seed, Kernel kernel) {
    machine.grid = grid;
    machine.cluster = cluster;
    machine.sharedBytes = sharedBytes;
    machine.timing = timing;
    machine.random.seed(seed);
    machine.promptWrites = seed / 3 % 2 != 0;
    machine.error.clear();
    machine.argument = &kernel;
    machine.body = [](void* k) { (*static_cast<Kernel*>(k))(); };
    octet_host::Stacks stacks; // not kept: a process can have dozens of variants, and 65530 mappings
    for (unsigned first = 0; first < grid && machine.error.empty(); first += cluster) {
        run_cluster(first, stacks);
    }
    return machine.error;
}

} // namespace octet_hopper

// ------------------------------------------------------------------------------------------------ what kernels call

struct alignas(64) TensorMap {
    char bytes[128];
};

inline unsigned thread_index() { return octet_hopper::machine.current->index; }
inline unsigned block_index() { return octet_hopper::own().index; }
inline unsigned block_count() { return octet_hopper::machine.grid; }
inline unsigned cluster_rank() { return octet_hopper::own().rank; }
inline unsigned cluster_size() { return octet_hopper::machine.cluster; }
inline unsigned dynamic_shared() { return octet_hopper::SHARED_BASE; }
inline unsigned peer_address(unsigned address, unsigned rank) {
    if (rank >= octet_hopper::machine.cluster) {
        octet_hopper::fail(octet_hopper::format("mapa to block %u of %u", rank, octet_hopper::machine.cluster));
    }
    return address | (rank + 1) << octet_hopper::PEER_SHIFT;
}

inline float load_shared(unsigned address) {
    unsigned at;
    octet_hopper::Block& b = octet_hopper::owner(address, 4, at);
    float v;
    memcpy(&v, &b.shared[at], 4);
    return v;
}
inline void load_shared(unsigned address, float& x, float& y) {
    unsigned at;
    octet_hopper::Block& b = octet_hopper::owner(address, 8, at);
    memcpy(&x, &b.shared[at], 4);
    memcpy(&y, &b.shared[at + 4], 4);
}
inline void load_cluster(unsigned address, float (&v)[4]) {
    unsigned at;
    octet_hopper::Block& b = octet_hopper::owner(address, 16, at);
    memcpy(v, &b.shared[at], 16);
}
inline void store_shared(unsigned address, float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    octet_hopper::write(address, bits);
}
inline float load_constant(const float* p) { return *p; }
inline unsigned load_constant_byte(const void* p) { return *static_cast<const unsigned char*>(p); }
inline unsigned shuffle_bits(unsigned v, int lane) { return unsigned(octet_hopper::exchange({v, 0, 0, 0, 0})[lane & 31][0]); }
inline float shuffle(float v, int lane) {
    uint64_t bits = 0;
    memcpy(&bits, &v, 4);
    bits = octet_hopper::exchange({bits, 0, 0, 0, 0})[lane & 31][0];
    memcpy(&v, &bits, 4);
    return v;
}
inline int uniform(int v) { return v; }
inline void warp_barrier() {}
inline unsigned round_bf16(float v) {
    uint32_t u;
    memcpy(&u, &v, 4);
    return v != v ? 0x7FFF : (u + 0x7FFF + (u >> 16 & 1)) >> 16;
}
inline unsigned pack_bf16(float low, float high) { return round_bf16(high) << 16 | round_bf16(low); }
inline unsigned float_to_bits(float v) {
    unsigned bits;
    memcpy(&bits, &v, 4);
    return bits;
}
inline float bits_to_float(unsigned bits) {
    float v;
    memcpy(&v, &bits, 4);
    return v;
}

inline void block_barrier() { octet_hopper::meet(octet_hopper::own().named[0], octet_hopper::THREADS, "barrier %ld", 0); }
inline void named_barrier(int id, int threads) {
    octet_hopper::meet(octet_hopper::own().named[id], unsigned(threads), "barrier %ld", id);
}
inline void cluster_barrier() {
    octet_hopper::meet(octet_hopper::machine.all, octet_hopper::THREADS * octet_hopper::machine.cluster,
            "the cluster's barrier", 0);
}

inline void mbarrier_init(unsigned barrier, unsigned arrivals) {
    unsigned at;
    octet_hopper::Block& b = octet_hopper::owner(barrier, 8, at);
    b.barriers[at] = {true, arrivals, arrivals, 0, 0};
}
inline void fence_mbarrier_init() {}
inline void mbarrier_arrive_expect(unsigned barrier, unsigned bytes) {
    octet_hopper::publish();
    octet_hopper::Barrier& m = octet_hopper::barrier_at(barrier);
    m.bytes += bytes;
    octet_hopper::arrive(m);
}
inline void mbarrier_arrive(unsigned barrier) {
    octet_hopper::publish();
    octet_hopper::arrive(octet_hopper::barrier_at(barrier));
}
inline void mbarrier_arrive_peer(unsigned barrier, unsigned rank) { mbarrier_arrive(peer_address(barrier, rank)); }
inline void mbarrier_wait(unsigned barrier, unsigned parity) { octet_hopper::wait_parity(barrier, parity); }
inline void mbarrier_wait_cluster(unsigned barrier, unsigned parity) { octet_hopper::wait_parity(barrier, parity); }

inline void fence_async() {
    octet_hopper::Thread& t = *octet_hopper::machine.current;
    octet_hopper::publish();
    for (unsigned at : t.unfenced) {
        memcpy(&t.block->async[at], &t.block->shared[at], 4);
    }
    t.unfenced.clear();
}

inline unsigned long long cache_policy(bool keep) { return keep; }
inline void tma_prefetch_map(const TensorMap*) {}
inline void tma_load(unsigned to, const TensorMap* map, unsigned barrier, int x, int y) {
    int at[] = {x, y};
    octet_hopper::load(to, map, 2, barrier, at, 1u << cluster_rank());
}
inline void tma_load(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z, unsigned long long) {
    int at[] = {x, y, z};
    octet_hopper::load(to, map, 3, barrier, at, 1u << cluster_rank());
}
inline void tma_load_multicast(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z,
        unsigned short mask, unsigned long long) {
    int at[] = {x, y, z};
    octet_hopper::load(to, map, 3, barrier, at, mask);
}
inline void tma_store(const TensorMap* map, unsigned from, int x, int y) { octet_hopper::store(map, from, x, y); }
inline void tma_store_commit() {
    for (octet_hopper::Store& s : octet_hopper::machine.current->stores) {
        s.committed = true;
    }
}
inline void tma_store_wait_read() { octet_hopper::store_wait(); }
inline void tma_store_wait() { octet_hopper::store_wait(); }

/// stmatrix: lane l holds elements 2 (l % 4) and + 1 of row l / 4 of each matrix; lane 8 i + r has the address of row r
/// of matrix i.
inline void store_matrices(unsigned address, unsigned a, unsigned b, unsigned c, unsigned d) {
    const uint64_t(*all)[5] = octet_hopper::exchange({address, a, b, c, d});
    unsigned lane = thread_index() % 32, matrix = lane / 8, row = lane % 8;
    unsigned words[4];
    for (unsigned i = 0; i < 4; i++) {
        words[i] = unsigned(all[row * 4 + i][1 + matrix]);
    }
    unsigned at;
    octet_hopper::owner(address, 16, at);
    for (unsigned i = 0; i < 4; i++) {
        octet_hopper::write(address + 4 * i, words[i]);
    }
}

template <int COUNT>
inline void more_registers() {}
template <int COUNT>
inline void fewer_registers() {}
inline void wait_for_previous_kernel() {}
inline void start_next_kernel() {}
inline void pin(float&) {}
inline void wgmma_fence() { octet_hopper::machine.current->fenced = true; }
inline void wgmma_commit() {
    octet_hopper::Thread& t = *octet_hopper::machine.current;
    t.groups.push_back(t.issued);
}
template <int PENDING>
inline void wgmma_wait() { octet_hopper::wait_groups(PENDING); }
