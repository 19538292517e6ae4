package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Memory that an operation can't use. Kernels go by addresses: a write to a read-only mapping would end the process, and
 * nothing would notice the use of another thread's memory.
 */
@Tag("backend")
class MemoryRefusalTest {
    private static final AttentionOptions CAUSAL = AttentionOptions.causal(1);
    private static final MlaConfig CONFIG = Configs.tiny(2, 128);

    private final Arena arena = Arena.ofShared();
    private LatentKvCache cache;
    private LatentKvCache.Sequence sequence;

    /** An operation on tensors by name. */
    private interface Operation {
        void run(Mla mla, Map<String, Tensor> tensors);
    }

    @BeforeEach
    void fill() {
        cache = LatentKvCache.allocate(arena, 8, 2, CacheFormat.BF16, 1, 10, 4);
        sequence = cache.open();
        cache.extend(List.of(sequence), 5);
    }

    @AfterEach
    void free() {
        cache.close();
        arena.close();
    }

    private static Map<String, Tensor> tensors(Arena arena, Object... namesAndShapes) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        for (int i = 0; i < namesAndShapes.length; i += 2) {
            tensors.put((String) namesAndShapes[i],
                    Tensor.allocate(arena, DType.F32, Shape.of((long[]) namesAndShapes[i + 1])));
        }
        return tensors;
    }

    private static long[] of(long... dims) {
        return dims;
    }

    /** Each operation with its tensors, those first that it only reads. */
    private Map<Operation, Map<String, Tensor>> operations(Arena from) {
        Map<Operation, Map<String, Tensor>> all = new LinkedHashMap<>();
        all.put((mla, t) -> mla.rmsNorm(t.get("x"), t.get("weight"), 1e-6f, t.get("out")),
                tensors(from, "x", of(3, 8), "weight", of(8), "out", of(3, 8)));
        all.put((mla, t) -> mla.rope(t.get("x"), new int[3], Rope.of(CONFIG), t.get("out")),
                tensors(from, "x", of(3, 2, 32), "out", of(3, 2, 32)));
        all.put((mla, t) -> mla.projectHeads(t.get("x"), t.get("weight"), t.get("out")),
                tensors(from, "x", of(3, 2, 8), "weight", of(2, 4, 8), "out", of(3, 2, 4)));
        all.put((mla, t) -> mla.prefill(t.get("query"), t.get("keys"), t.get("ropeKeys"), t.get("values"),
                Ragged.self(3), CAUSAL, t.get("out"), t.get("lse")),
                tensors(from, "query", of(3, 2, 10), "keys", of(3, 2, 8), "ropeKeys", of(3, 2), "values", of(3, 2, 4),
                        "out", of(3, 2, 4), "lse", of(3, 2)));
        all.put((mla, t) -> mla.decode(t.get("query"), cache, 0, List.of(sequence), new int[] {3}, CAUSAL,
                t.get("out"), t.get("lse")),
                tensors(from, "query", of(3, 2, 10), "out", of(3, 2, 8), "lse", of(3, 2)));
        all.put((mla, t) -> mla.merge(t.get("outA"), t.get("lseA"), t.get("outB"), t.get("lseB"), t.get("out"),
                t.get("lse")),
                tensors(from, "outA", of(3, 2, 4), "lseA", of(3, 2), "outB", of(3, 2, 4), "lseB", of(3, 2),
                        "out", of(3, 2, 4), "lse", of(3, 2)));
        return all;
    }

    private void refusedByName(Mla mla, Class<? extends Exception> type, String reason, boolean inputsToo,
            UnaryOperator<Tensor> spoil) {
        operations(arena).forEach((operation, tensors) -> {
            for (String name : tensors.keySet()) {
                if (inputsToo || name.equals("out") || name.equals("lse")) {
                    Map<String, Tensor> spoilt = new LinkedHashMap<>(tensors);
                    spoilt.put(name, spoil.apply(tensors.get(name)));
                    List<byte[]> before = new ArrayList<>();
                    tensors.values().forEach(t -> before.add(t.segment().toArray(ValueLayout.JAVA_BYTE)));
                    String message = assertThrows(type, () -> operation.run(mla, spoilt)).getMessage();
                    assertTrue(message.startsWith(name + " is ") && message.contains(reason), message);
                    int i = 0;
                    for (Tensor t : tensors.values()) {
                        assertArrayEquals(before.get(i++), t.segment().toArray(ValueLayout.JAVA_BYTE));
                    }
                }
            }
        });
    }

    static List<String> backends() {
        return TestedBackends.names().toList();
    }

    @ParameterizedTest
    @MethodSource("backends")
    void outputsThatCantBeWritten(String backend, @TempDir Path folder) throws IOException {
        Path file = Files.write(folder.resolve("zeros"), new byte[4096]);
        refusedByName(Mla.on(backend), IllegalArgumentException.class, "read-only", false, t -> {
            try {
                return Tensor.map(arena, file, 0, DType.F32, t.shape());
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
    }

    @ParameterizedTest
    @MethodSource("backends")
    void memoryOfAnotherThread(String backend) throws Exception {
        try (var other = Executors.newSingleThreadExecutor()) {
            Arena confined = other.submit(Arena::ofConfined).get();
            refusedByName(Mla.on(backend), WrongThreadException.class, "confined", true,
                    t -> onThread(other, () -> Tensor.allocate(confined, DType.F32, t.shape())));
            other.submit(confined::close).get();
        }
    }

    private static Tensor onThread(ExecutorService thread, Callable<Tensor> make) {
        try {
            return thread.submit(make).get();
        } catch (InterruptedException | ExecutionException e) {
            throw new AssertionError(e);
        }
    }

    /** Several elements in one place: which of them stays would be up to the threads. */
    @ParameterizedTest
    @MethodSource("backends")
    void outputsWhoseElementsShareAPlace(String backend) {
        refusedByName(Mla.on(backend), IllegalArgumentException.class, "stride 0", false,
                t -> repeated(t, t.shape().rank() - 1));
        refusedByName(Mla.on(backend), IllegalArgumentException.class, "stride 0", false, t -> repeated(t, 0));
    }

    private Tensor repeated(Tensor t, int dim) {
        long[] strides = t.strides();
        strides[dim] = 0;
        return Tensor.allocateStrided(t.dtype(), t.shape(), strides);
    }
}
