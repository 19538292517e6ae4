// Runs CUDA kernels on the host, for tests: a grid of blocks, a block's threads as fibres that take turns, shared
// memory, barriers and warp collectives. What a GPU would answer with a hang or with garbage is an error here that names
// the threads: a barrier that some never reach, lanes of a warp at different collectives, a write behind shared memory.
//
// A block runs on one operating system thread, so a kernel's shared memory is thread_local memory (static arrays and
// the dynamic one alike), filled with 0xFF before each block. Blocks run one after the other on up to two threads; the
// blocks of a cluster run at the same time, each on a thread of its own.
//
// Threads take turns only where they wait. So that a missing barrier shows, the order of turns is an argument of the
// launch: 0 forward, 1 backward, any other a shuffle by that seed.
#pragma once

#include <dlfcn.h>
#include <link.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

/// As much as a Hopper SM gives to one block, and a zone behind it that nobody may write.
constexpr size_t OCTET_SHARED_LIMIT = 232448;
constexpr size_t OCTET_RED_ZONE = 4096;

/// The one array that kernels name for dynamic shared memory: extern __shared__ __align__(1024) unsigned char
/// octet_shared[];
inline thread_local unsigned char octet_shared[OCTET_SHARED_LIMIT + OCTET_RED_ZONE] __attribute__((aligned(1024)));

namespace octet_host {

struct Dim3 {
    unsigned x = 1, y = 1, z = 1;
    size_t count() const { return size_t(x) * y * z; }
    Dim3 at(size_t i) const { return {unsigned(i % x), unsigned(i / x % y), unsigned(i / x / y)}; }
};

// ------------------------------------------------------------------------------------------------ contexts

#if defined(__x86_64__)
/// Saves the registers that a callee keeps, changes stacks, restores. swapcontext would cost two system calls.
extern "C" void octet_host_switch(void** from, void* to);
asm(R"(
.text
.p2align 4
.local octet_host_switch
.type octet_host_switch,@function
octet_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size octet_host_switch,.-octet_host_switch
)");

struct Context {
    void* sp = nullptr;
    void make(char* stack, size_t size, void (*entry)()) {
        auto top = reinterpret_cast<uintptr_t>(stack + size) & ~uintptr_t(63);
        auto words = reinterpret_cast<void**>(top) - 8;
        words[6] = reinterpret_cast<void*>(entry); // where the switch returns to; then rsp is 8 below a multiple of 16
        words[7] = nullptr;
        sp = words;
    }
    static void change(Context& from, Context& to) { octet_host_switch(&from.sp, to.sp); }
};
#else
struct Context {
    ucontext_t u;
    void make(char* stack, size_t size, void (*entry)()) {
        getcontext(&u);
        u.uc_stack.ss_sp = stack;
        u.uc_stack.ss_size = size;
        u.uc_link = nullptr;
        makecontext(&u, entry, 0);
    }
    static void change(Context& from, Context& to) { swapcontext(&from.u, &to.u); }
};
#endif

// ------------------------------------------------------------------------------------------------ a launch

struct Launch {
    Dim3 grid, block, cluster;
    size_t sharedBytes = 0;
    unsigned long order = 0;
    void (*run)(void** arguments) = nullptr;
    void** arguments = nullptr;

    std::atomic<size_t> nextBlock{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::string error;

    void fail(const std::string& message) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!failed.load()) {
            error = message;
            failed.store(true);
        }
    }
};

struct Fibre {
    Context context;
    Dim3 threadIdx;
    unsigned index = 0;
    bool started = false, done = false;
    /// What it waits for, or null.
    const char* waiting = nullptr;
    long detail = 0;
};

/// Lanes that meet at a collective.
struct Collective {
    unsigned mask = 0, arrived = 0, generation = 0;
    const char* what = nullptr;
    uint64_t values[32], results[32];
};

struct Warp {
    unsigned exited = 0;
    Collective groups[32]; // by the lowest lane of the mask
};

struct Barrier {
    unsigned arrived = 0, expected = 0, generation = 0;
};

struct Block;
/// Where a launched cluster's blocks find each other.
struct Cluster {
    std::vector<Block*> blocks;
    std::atomic<size_t> ready{0};
    /// Counts what happened anywhere in the cluster, so that a block that waits can tell a pause from the end.
    std::atomic<size_t> events{0};
    std::atomic<size_t> ended{0};
};

struct Block {
    Launch* launch = nullptr;
    Cluster* cluster = nullptr;
    unsigned rank = 0;
    Dim3 blockIdx;
    unsigned char* shared = nullptr;
    std::vector<Fibre> fibres;
    std::vector<Warp> warps;
    Barrier barriers[16];
    /// For __syncthreads_or and its kin: one word for each barrier generation, old and new.
    unsigned votes[2] = {0, 0}, counts[2] = {0, 0};
    Context scheduler;
    Fibre* current = nullptr;
    size_t events = 0;

    unsigned threads() const { return unsigned(fibres.size()); }
    void schedule();
    void giveUp();
};

/// All that outlives a block on one thread: fibres' stacks.
struct Stacks {
    static constexpr size_t SIZE = 256 << 10, GUARD = 4096;
    std::vector<char*> all;
    Stacks() = default;
    Stacks(const Stacks&) = delete;
    ~Stacks() {
        for (char* p : all) {
            munmap(p, SIZE);
        }
    }
    char* get(size_t i) {
        while (all.size() <= i) {
            void* p = mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (p == MAP_FAILED) {
                return nullptr;
            }
            mprotect(p, GUARD, PROT_NONE);
            all.push_back(static_cast<char*>(p));
        }
        return all[i];
    }
};

/// Stacks that nobody uses at the moment: mapping them anew for each launch would take longer than most launches.
class StackPool {
    std::mutex mutex;
    std::vector<std::unique_ptr<Stacks>> idle;

public:
    std::unique_ptr<Stacks> take() {
        std::lock_guard<std::mutex> lock(mutex);
        if (idle.empty()) {
            return std::make_unique<Stacks>();
        }
        std::unique_ptr<Stacks> last = std::move(idle.back());
        idle.pop_back();
        return last;
    }
    void give(std::unique_ptr<Stacks> stacks) {
        std::lock_guard<std::mutex> lock(mutex);
        idle.push_back(std::move(stacks));
    }
};

inline StackPool stackPool;

inline thread_local Block* block = nullptr;

inline Fibre& fibre() { return *block->current; }

inline std::string format(const char* text, ...) {
    char buffer[1024];
    va_list list;
    va_start(list, text);
    vsnprintf(buffer, sizeof buffer, text, list);
    va_end(list);
    return buffer;
}

inline std::string name(const Block& b, const Fibre& f) {
    return format("thread (%u,%u,%u) of block (%u,%u,%u)", f.threadIdx.x, f.threadIdx.y, f.threadIdx.z, b.blockIdx.x,
            b.blockIdx.y, b.blockIdx.z);
}

/// Ends the launch with an error; does not return to the kernel.
[[noreturn]] inline void fail(const std::string& message) {
    Block& b = *block;
    b.launch->fail(name(b, fibre()) + ": " + message);
    for (;;) {
        Context::change(fibre().context, b.scheduler);
    }
}

/// Counts progress that others may be waiting for: call it after a change that no wait() of this thread reports.
inline void event() {
    block->events++;
    if (block->cluster->blocks.size() > 1) {
        block->cluster->events.fetch_add(1);
    }
}

/// Lets other threads run until ready() is true. The text is for the report of a deadlock; "%ld" in it is the detail.
template <class Ready>
inline void wait(const char* what, long detail, Ready ready) {
    Fibre& f = fibre();
    while (!ready()) {
        f.waiting = what;
        f.detail = detail;
        Context::change(f.context, block->scheduler);
    }
    f.waiting = nullptr;
    event();
}

// ------------------------------------------------------------------------------------------------ blocks

inline void enter() {
    Block& b = *block;
    Fibre& f = *b.current;
    b.launch->run(b.launch->arguments);
    f.done = true;
    b.warps[f.index / 32].exited |= 1u << f.index % 32;
    event();
    for (;;) {
        Context::change(f.context, b.scheduler);
    }
}

inline void Block::giveUp() {
    std::string message;
    size_t done = 0, waiting = 0;
    const Fibre* gone = nullptr;
    for (const Fibre& f : fibres) {
        if (f.done) {
            done++;
            gone = gone ? gone : &f;
        } else {
            waiting++;
        }
    }
    message = "deadlock: ";
    std::vector<std::string> told;
    for (const Fibre& f : fibres) {
        if (f.done || !f.waiting || told.size() >= 4) {
            continue;
        }
        std::string what = format(f.waiting, f.detail);
        if (std::find(told.begin(), told.end(), what) == told.end()) {
            told.push_back(what);
            message += name(*this, f) + " waits at " + what + "; ";
        }
    }
    message += format("%zu of %zu threads wait", waiting, fibres.size());
    if (gone) {
        message += format(", %zu have returned, one of them ", done) + name(*this, *gone);
    }
    launch->fail(message);
}

inline void Block::schedule() {
    std::vector<unsigned> order(fibres.size());
    for (unsigned i = 0; i < order.size(); i++) {
        order[i] = launch->order == 1 ? unsigned(order.size()) - 1 - i : i;
    }
    if (launch->order > 1) {
        uint64_t state = launch->order * 0x9E3779B97F4A7C15ull + rank + blockIdx.x * 31 + blockIdx.y * 1009;
        for (unsigned i = unsigned(order.size()) - 1; i > 0; i--) {
            state = state * 6364136223846793005ull + 1442695040888963407ull;
            std::swap(order[i], order[(state >> 33) % (i + 1)]);
        }
    }
    using Clock = std::chrono::steady_clock;
    Clock::time_point idleSince{};
    size_t seen = 0;
    for (;;) {
        size_t before = events;
        bool alive = false;
        for (unsigned i : order) {
            Fibre& f = fibres[i];
            if (f.done) {
                continue;
            }
            alive = true;
            if (!f.started) {
                f.started = true;
                events++;
            }
            current = &f;
            Context::change(scheduler, f.context);
            if (launch->failed.load(std::memory_order_relaxed)) {
                return;
            }
        }
        if (!alive) {
            return;
        }
        if (events != before) {
            continue;
        }
        if (cluster->blocks.size() == 1) {
            giveUp();
            return;
        }
        // Another block of the cluster may still do what this one waits for.
        size_t now = cluster->events.load();
        if (now != seen) {
            seen = now;
            idleSince = Clock::now();
        } else if (Clock::now() - idleSince > std::chrono::seconds(5)) {
            giveUp();
            return;
        }
        sched_yield();
    }
}

struct Range {
    unsigned char* from = nullptr;
    size_t size = 0;
};

/// This library's thread-local memory on this thread: all static shared memory is in it.
inline Range sharedMemory() {
    Range range;
    dl_iterate_phdr(
            [](dl_phdr_info* info, size_t, void* out) {
                auto r = static_cast<Range*>(out);
                for (int i = 0; i < info->dlpi_phnum; i++) {
                    auto base = static_cast<unsigned char*>(info->dlpi_tls_data);
                    if (info->dlpi_phdr[i].p_type == PT_TLS && base && base <= octet_shared
                            && octet_shared < base + info->dlpi_phdr[i].p_memsz) {
                        *r = {base, size_t(info->dlpi_phdr[i].p_memsz)};
                    }
                }
                return 0;
            },
            &range);
    return range;
}

/// One block, on this thread.
inline void runBlock(Launch& launch, Stacks& stacks, Range memory, Cluster& cluster, unsigned rank, size_t index) {
    Block b;
    b.launch = &launch;
    b.cluster = &cluster;
    b.rank = rank;
    b.blockIdx = launch.grid.at(index);
    b.shared = octet_shared;
    b.fibres = std::vector<Fibre>(launch.block.count());
    b.warps = std::vector<Warp>((b.fibres.size() + 31) / 32);
    for (unsigned i = 0; i < b.fibres.size(); i++) {
        Fibre& f = b.fibres[i];
        f.index = i;
        f.threadIdx = launch.block.at(i);
        char* stack = stacks.get(i);
        if (!stack) {
            launch.fail("no memory for the stacks of a block's threads");
            return;
        }
        f.context.make(stack + Stacks::GUARD, Stacks::SIZE - Stacks::GUARD, enter);
    }
    // The last warp may have lanes that are no threads.
    if (b.fibres.size() % 32 != 0) {
        b.warps.back().exited = ~0u << b.fibres.size() % 32;
    }
    size_t used = launch.sharedBytes + OCTET_RED_ZONE;
    memset(memory.from, 0xFF, octet_shared - memory.from);
    memset(octet_shared, 0xFF, used);
    memset(octet_shared + sizeof octet_shared, 0xFF, memory.from + memory.size - (octet_shared + sizeof octet_shared));
    block = &b;
    cluster.blocks[rank] = &b;
    cluster.ready.fetch_add(1);
    while (cluster.ready.load() < cluster.blocks.size() && !launch.failed.load()) {
        sched_yield();
    }
    b.schedule();
    cluster.events.fetch_add(1);
    cluster.ended.fetch_add(1);
    // Others may still read this block's shared memory, whether they should or not.
    while (cluster.ended.load() < cluster.blocks.size() && !launch.failed.load()) {
        sched_yield();
    }
    for (size_t i = launch.sharedBytes; i < used; i++) {
        if (octet_shared[i] != 0xFF) {
            launch.fail(format("block (%u,%u,%u) wrote %zu bytes behind its %zu bytes of dynamic shared memory",
                    b.blockIdx.x, b.blockIdx.y, b.blockIdx.z, i - launch.sharedBytes, launch.sharedBytes));
            break;
        }
    }
    block = nullptr;
}

inline void runBlocks(Launch& launch) {
    std::unique_ptr<Stacks> stacks = stackPool.take();
    octet_shared[0] = 0; // so that this thread has the memory before anybody looks for it
    Range memory = sharedMemory();
    size_t count = launch.grid.count();
    for (size_t i; !launch.failed.load() && (i = launch.nextBlock.fetch_add(1)) < count;) {
        Cluster alone;
        alone.blocks.resize(1);
        runBlock(launch, *stacks, memory, alone, 0, i);
    }
    stackPool.give(std::move(stacks));
}

/// Clusters one after the other, the blocks of each at once.
inline void runClusters(Launch& launch) {
    Dim3 c = launch.cluster, g = launch.grid;
    Dim3 clusters{g.x / c.x, g.y / c.y, g.z / c.z};
    for (size_t i = 0; i < clusters.count() && !launch.failed.load(); i++) {
        Cluster together;
        together.blocks.resize(c.count());
        Dim3 first = clusters.at(i);
        std::vector<std::thread> threads;
        for (size_t r = 0; r < c.count(); r++) {
            Dim3 in = c.at(r);
            size_t index = (size_t(first.z * c.z + in.z) * g.y + first.y * c.y + in.y) * g.x + first.x * c.x + in.x;
            threads.emplace_back([&launch, &together, r, index] {
                std::unique_ptr<Stacks> stacks = stackPool.take();
                octet_shared[0] = 0;
                runBlock(launch, *stacks, sharedMemory(), together, unsigned(r), index);
                stackPool.give(std::move(stacks));
            });
        }
        for (std::thread& t : threads) {
            t.join();
        }
    }
}

/// Returns what went wrong, or nothing.
inline std::string execute(Launch& launch) {
    if (launch.block.count() == 0 || launch.block.count() > 1024 || launch.block.z > 64) {
        return "a block has 1 to 1024 threads";
    }
    if (launch.grid.count() == 0 || launch.grid.x > 0x7FFFFFFFu || launch.grid.y > 65535 || launch.grid.z > 65535) {
        return "a grid has 1 to 2147483647 blocks in x, 65535 in y and z";
    }
    if (launch.sharedBytes > OCTET_SHARED_LIMIT) {
        return "a block has at most 232448 bytes of dynamic shared memory";
    }
    Dim3 c = launch.cluster;
    if (c.count() == 0 || c.count() > 16 || launch.grid.x % c.x || launch.grid.y % c.y || launch.grid.z % c.z) {
        return "a cluster has 1 to 16 blocks and divides the grid";
    }
    if (c.count() > 1) {
        runClusters(launch);
    } else {
        // Threads of their own, since a thread of the JVM has not much stack for what it does not know.
        size_t workers = launch.grid.count() >= 4 ? 2 : 1;
        std::vector<std::thread> threads;
        for (size_t i = 0; i < workers; i++) {
            threads.emplace_back([&launch] { runBlocks(launch); });
        }
        for (std::thread& t : threads) {
            t.join();
        }
    }
    return launch.error;
}

// ------------------------------------------------------------------------------------------------ collectives

/// What all lanes of the mask brought, by lane; they must all come to the same place with the same mask.
inline const uint64_t* meet(const char* what, unsigned mask, uint64_t value) {
    Block& b = *block;
    Fibre& f = fibre();
    unsigned lane = f.index % 32;
    Warp& w = b.warps[f.index / 32];
    if (!(mask >> lane & 1)) {
        fail(format("%s with mask %08x, which lacks its own lane %u", what, mask, lane));
    }
    Collective& g = w.groups[__builtin_ctz(mask)];
    if (g.arrived == 0) {
        g.mask = mask;
        g.what = what;
    } else if (g.mask != mask || strcmp(g.what, what) != 0) {
        fail(format("lane %u is at %s with mask %08x, lanes %08x of its warp at %s with mask %08x", lane, what, mask,
                g.arrived, g.what, g.mask));
    }
    g.values[lane] = value;
    g.arrived |= 1u << lane;
    if (g.arrived == mask) {
        memcpy(g.results, g.values, sizeof g.values);
        g.arrived = 0;
        g.generation++;
        event();
        return g.results;
    }
    unsigned mine = g.generation;
    wait(what, lane, [&] {
        if (g.generation == mine && (w.exited & mask)) {
            fail(format("%s with mask %08x, of which lanes %08x have returned", what, mask, w.exited & mask));
        }
        return g.generation != mine;
    });
    return g.results;
}

/// bar.sync id, count; count 0 is all threads of the block.
inline void sync(unsigned id, unsigned count = 0) {
    Block& b = *block;
    Barrier& bar = b.barriers[id];
    unsigned expected = count ? count : b.threads();
    if (id > 15 || (count && count % 32)) {
        fail(format("barrier %u of %u threads: there are 16, of whole warps", id, count));
    }
    if (bar.arrived && bar.expected != expected) {
        fail(format("barrier %u of %u threads, where others wait for %u", id, expected, bar.expected));
    }
    bar.expected = expected;
    if (++bar.arrived == expected) {
        bar.arrived = 0;
        bar.generation++;
        event();
        return;
    }
    unsigned mine = bar.generation;
    wait("barrier %ld", id, [&bar, mine] { return bar.generation != mine; });
}

/// bar.arrive id, count: counts, and goes on.
inline void arrive(unsigned id, unsigned count) {
    Barrier& bar = block->barriers[id];
    if (id > 15 || count % 32 || (bar.arrived && bar.expected != count)) {
        fail(format("arrives at barrier %u of %u threads, where others wait for %u", id, count, bar.expected));
    }
    bar.expected = count;
    if (++bar.arrived == count) {
        bar.arrived = 0;
        bar.generation++;
    }
    event();
}

} // namespace octet_host
