package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.Test;

class OnnxModelTest {
    /** Writes protobuf, right or wrong. */
    private static final class Proto {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        Proto varint(long v) {
            long rest = v;
            while ((rest & ~0x7FL) != 0) {
                out.write((int) (rest & 0x7F | 0x80));
                rest >>>= 7;
            }
            out.write((int) rest);
            return this;
        }

        Proto number(int field, long value) {
            return varint(field << 3).varint(value);
        }

        Proto bytes(int field, byte[] value) {
            varint(field << 3 | 2).varint(value.length);
            out.writeBytes(value);
            return this;
        }

        Proto text(int field, String value) {
            return bytes(field, value.getBytes(StandardCharsets.UTF_8));
        }

        Proto raw(int... values) {
            for (int v : values) {
                out.write(v);
            }
            return this;
        }

        byte[] done() {
            return out.toByteArray();
        }
    }

    private static Proto proto() {
        return new Proto();
    }

    private static byte[] floats(float... values) {
        ByteBuffer b = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
        for (float v : values) {
            b.putFloat(v);
        }
        return b.array();
    }

    private static Proto tensor(String name, int rows, int columns, float... values) {
        return proto().number(1, rows).number(1, columns).number(2, 1).text(8, name).bytes(9, floats(values));
    }

    private static byte[] model(Proto graph) {
        return proto().number(1, 7).text(2, "test").bytes(7, graph.done()).done();
    }

    private static Proto node(String operation, String... inputs) {
        Proto p = proto();
        for (String i : inputs) {
            p.text(1, i);
        }
        return p.text(2, "y").text(3, "/linear/MatMul").text(4, operation);
    }

    private static Proto goodGraph() {
        return proto()
                .bytes(1, node("MatMul", "x", "onnx::MatMul_7").done())
                .bytes(5, tensor("onnx::MatMul_7", 2, 3, 1, 2, 3, 4, 5, 6).done())
                .bytes(5, proto().bytes(1, new byte[] {2}).number(2, 1).text(8, "packed").bytes(4, floats(7, 8)).done())
                .bytes(5, proto().number(1, 1).number(2, 7).text(8, "ids").bytes(9, new byte[8]).done())
                .text(2, "graph");
    }

    private static OnnxModel parse(byte[] bytes) throws ModelFormatException {
        MemorySegment segment = Arena.ofAuto().allocate(Math.max(1, bytes.length), 64).asSlice(0, bytes.length);
        MemorySegment.copy(bytes, 0, segment, java.lang.foreign.ValueLayout.JAVA_BYTE, 0, bytes.length);
        return OnnxModel.parse("m.onnx", segment);
    }

    private static void assertRefused(String part, byte[] bytes) {
        String message = assertThrows(ModelFormatException.class, () -> parse(bytes)).getMessage();
        assertTrue(message.startsWith("m.onnx") && message.contains(part), message);
    }

    @Test
    void readsTensorsAndTheWeightsOfNodes() throws Exception {
        OnnxModel m = parse(model(goodGraph()));
        assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, m.weightOf("/linear/MatMul", 2, 3).toFloatArray());
        assertArrayEquals(new float[] {7, 8}, m.tensor("packed", 2).toFloatArray());
        assertEquals(java.util.Set.of("onnx::MatMul_7", "packed"), m.tensors().keySet());
        assertTrue(m.hasNode("/linear/MatMul"));
    }

    @Test
    void saysWhatIsMissingOrOfAnotherKind() throws Exception {
        OnnxModel m = parse(model(goodGraph()));
        assertMessage("tensor 'nothing' is missing", () -> m.tensor("nothing", 1));
        assertMessage("'ids' has data type 7", () -> m.tensor("ids", 1));
        assertMessage("has shape [2], it must be [3]", () -> m.tensor("packed", 3));
        assertMessage("node '/other' is missing", () -> m.weightOf("/other", 2, 3));
        assertMessage("has shape [2, 3], it must be [3, 2]", () -> m.weightOf("/linear/MatMul", 3, 2));
        assertMessage("is a Add", () -> parse(model(proto().bytes(1, node("Add", "x").done())))
                .weightOf("/linear/MatMul", 2, 3));
        assertMessage("reads no constant", () -> parse(model(proto().bytes(1, node("MatMul", "x", "z").done())))
                .weightOf("/linear/MatMul", 2, 3));
    }

    private static void assertMessage(String part, org.junit.jupiter.api.function.Executable call) {
        String message = assertThrows(ModelFormatException.class, call).getMessage();
        assertTrue(message.contains(part), message);
    }

    @Test
    void refusesMalformedBytes() {
        assertRefused("no graph", new byte[0]);
        assertRefused("no graph", proto().number(1, 7).done());
        assertRefused("second graph", proto().bytes(7, new byte[0]).bytes(7, new byte[0]).done());
        assertRefused("wire type 0", proto().number(7, 3).done());
        assertRefused("wire type 3", proto().raw(1 << 3 | 3).done());
        assertRefused("wire type 4", proto().raw(1 << 3 | 4).done());
        assertRefused("wire type 7", proto().raw(1 << 3 | 7).done());
        assertRefused("field number 0", proto().raw(0).done());
        assertRefused("ends inside a number", proto().raw(0x80).done());
        assertRefused("more than 64 bits", proto().raw(8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1).done());
        assertRefused("more than 64 bits", proto().raw(8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2).done());
        assertRefused("left", proto().raw(7 << 3 | 2, 5, 0).done());
        assertRefused("left", proto().raw(7 << 3 | 2).varint(-1).done());
        assertRefused("left", proto().raw(7 << 3 | 2).varint(Long.MAX_VALUE).done());
        assertRefused("left", proto().raw(3 << 3 | 5, 0, 0).done());
        assertRefused("left", proto().raw(3 << 3 | 1, 0, 0, 0, 0).done());
        assertRefused("left", model(proto().raw(5 << 3 | 2, 9, 0)));
    }

    @Test
    void refusesTensorsThatAreNotWhatTheySay() {
        assertRefused("has 20 bytes", graphOf(tensor("t", 2, 3, 1, 2, 3, 4, 5)));
        assertRefused("has 28 bytes", graphOf(tensor("t", 2, 3, 1, 2, 3, 4, 5, 6, 7)));
        assertRefused("tensor 't' [2, 3] has 0 bytes", graphOf(proto().number(1, 2).number(1, 3).number(2, 1).text(8, "t")));
        assertRefused("dims", graphOf(proto().number(1, -1).number(2, 1).text(8, "t")));
        assertRefused("dims", graphOf(proto().number(1, 1L << 40).number(1, 1L << 40).number(2, 1).text(8, "t")));
        assertRefused("FP32 takes", graphOf(proto().number(1, 1L << 62).number(2, 1).text(8, "t")));
        assertRefused("more than 16 values", graphOf(proto().bytes(1, new byte[17]).number(2, 1).text(8, "t")));
        assertRefused("data twice", graphOf(tensor("t", 1, 1, 1).bytes(9, floats(1))));
        assertRefused("another file", graphOf(proto().number(1, 1).number(2, 1).text(8, "t").bytes(13, new byte[0])));
        assertRefused("not UTF-8", graphOf(proto().bytes(8, new byte[] {(byte) 0xC3, 0x28})));
        assertRefused("two tensors", model(proto().bytes(5, tensor("t", 1, 1, 1).done())
                .bytes(5, tensor("t", 1, 1, 1).done())));
        assertRefused("two nodes", model(proto().bytes(1, node("Add").done()).bytes(1, node("Add").done())));
    }

    private static byte[] graphOf(Proto tensor) {
        return model(proto().bytes(5, tensor.done()));
    }

    /** Damaged in any way, a file is read or refused with a message, and nothing else happens. */
    @Test
    void damagedFilesAreReadOrRefused() {
        long seed = 20260102;
        Random random = new Random(seed);
        byte[] good = model(goodGraph());
        int refused = 0;
        for (int n = 0; n < 20_000; n++) {
            byte[] bad = java.util.Arrays.copyOf(good, random.nextInt(4) == 0 ? random.nextInt(good.length + 9) : good.length);
            for (int k = random.nextInt(4); k > 0 && bad.length > 0; k--) {
                bad[random.nextInt(bad.length)] = (byte) random.nextInt(256);
            }
            try {
                parse(bad);
            } catch (ModelFormatException e) {
                refused++;
            } catch (RuntimeException | Error e) {
                throw new AssertionError("seed " + seed + ", file " + n, e);
            }
        }
        assertTrue(refused > 5_000, "only " + refused + " of 20000 damaged files were refused");
    }
}
