package dev.octet.benchmarks.demo;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The part of an ONNX file that the demo needs: the constant tensors (initialisers) and, for each node of the graph,
 * what it reads. The tensors are views of the file's memory; nothing is copied.
 *
 * <p>Field numbers are those of {@code onnx.proto3}: ModelProto.graph = 7; GraphProto.node = 1, initializer = 5;
 * NodeProto.input = 1, name = 3, op_type = 4; TensorProto.dims = 1, data_type = 2, float_data = 4, name = 8,
 * raw_data = 9, external_data = 13.
 */
final class OnnxModel {
    private static final int FLOAT = 1;

    /** One operation of the graph. */
    record Node(String name, String operation, List<String> inputs) {}

    private final String file;
    private final Map<String, Tensor> initializers = new HashMap<>();
    private final Map<String, Integer> otherTypes = new HashMap<>();
    private final Map<String, Node> nodes = new HashMap<>();

    private OnnxModel(String file) {
        this.file = file;
    }

    /**
     * Reads a model.
     *
     * @param file the name used in messages
     * @param bytes the file's content, native memory that outlives the model
     * @throws ModelFormatException if the bytes are not an ONNX model with inline weights
     */
    static OnnxModel parse(String file, MemorySegment bytes) throws ModelFormatException {
        OnnxModel model = new OnnxModel(file);
        boolean graph = false;
        ProtoCursor c = new ProtoCursor(file, bytes);
        while (c.next()) {
            if (c.field() == 7) {
                if (graph) {
                    throw c.fault("there is a second graph");
                }
                graph = true;
                model.readGraph(c.message());
            } else {
                c.skip();
            }
        }
        if (!graph) {
            throw new ModelFormatException(file + " holds no graph: it is not an ONNX model");
        }
        return model;
    }

    /** The FP32 initialisers by name. */
    Map<String, Tensor> tensors() {
        return Collections.unmodifiableMap(initializers);
    }

    boolean hasNode(String name) {
        return nodes.containsKey(name);
    }

    /** An FP32 initialiser of a given shape. */
    Tensor tensor(String name, long... dims) throws ModelFormatException {
        Tensor t = initializers.get(name);
        if (t == null) {
            Integer type = otherTypes.get(name);
            throw new ModelFormatException(file + ": tensor '" + name + "' "
                    + (type == null ? "is missing" : "has data type " + type + ", it must be 1 (float)"));
        }
        if (!t.shape().equals(Shape.of(dims))) {
            throw new ModelFormatException(
                    file + ": tensor '" + name + "' has shape " + t.shape() + ", it must be " + Shape.of(dims));
        }
        return t;
    }

    /**
     * The constant that a MatMul node multiplies by, which exporters give anonymous names.
     *
     * @return {@code [in, out]}
     */
    Tensor weightOf(String nodeName, long in, long out) throws ModelFormatException {
        Node node = nodes.get(nodeName);
        if (node == null || !node.operation().equals("MatMul")) {
            throw new ModelFormatException(file + ": node '" + nodeName + "' "
                    + (node == null ? "is missing" : "is a " + node.operation() + ", it must be a MatMul"));
        }
        for (String input : node.inputs()) {
            if (initializers.containsKey(input)) {
                return tensor(input, in, out);
            }
        }
        throw new ModelFormatException(file + ": node '" + nodeName + "' reads no constant: " + node.inputs());
    }

    private void readGraph(ProtoCursor graph) throws ModelFormatException {
        while (graph.next()) {
            switch (graph.field()) {
                case 1 -> readNode(graph.message());
                case 5 -> readTensor(graph.message());
                default -> graph.skip();
            }
        }
    }

    private void readNode(ProtoCursor c) throws ModelFormatException {
        String name = "";
        String operation = "";
        List<String> inputs = new ArrayList<>();
        while (c.next()) {
            switch (c.field()) {
                case 1 -> inputs.add(c.text());
                case 3 -> name = c.text();
                case 4 -> operation = c.text();
                default -> c.skip();
            }
        }
        if (!name.isEmpty() && nodes.put(name, new Node(name, operation, List.copyOf(inputs))) != null) {
            throw c.fault("there are two nodes '" + name + "'");
        }
    }

    private void readTensor(ProtoCursor c) throws ModelFormatException {
        String name = "";
        long type = 0;
        long[] dims = {};
        MemorySegment data = null;
        boolean external = false;
        while (c.next()) {
            switch (c.field()) {
                case 1 -> dims = c.appendVarints(dims);
                case 2 -> type = c.varint();
                case 4, 9 -> { // packed floats and raw bytes are the same bytes
                    if (data != null) {
                        throw c.fault("tensor '" + name + "' has its data twice");
                    }
                    data = c.bytes();
                }
                case 8 -> name = c.text();
                case 13 -> {
                    external = true;
                    c.skip();
                }
                default -> c.skip();
            }
        }
        if (initializers.containsKey(name) || otherTypes.containsKey(name)) {
            throw c.fault("there are two tensors '" + name + "'");
        }
        if (type != FLOAT) {
            otherTypes.put(name, (int) type);
            return;
        }
        if (external) {
            throw c.fault("tensor '" + name + "' lies in another file, which is not supported");
        }
        initializers.put(name, wrap(c, name, dims, data == null ? MemorySegment.NULL : data));
    }

    private static Tensor wrap(ProtoCursor c, String name, long[] dims, MemorySegment data)
            throws ModelFormatException {
        Shape shape;
        try {
            shape = Shape.of(dims);
        } catch (IllegalArgumentException e) {
            throw c.fault("tensor '" + name + "' has dims " + Arrays.toString(dims) + ": " + e.getMessage());
        }
        long elements = shape.elements();
        if (elements > Long.MAX_VALUE / 4 || data.byteSize() != elements * 4) {
            throw c.fault("tensor '" + name + "' " + shape + " has " + data.byteSize() + " bytes, FP32 takes "
                    + Long.toUnsignedString(elements) + " * 4");
        }
        return Tensor.wrap(data, DType.F32, shape);
    }
}
