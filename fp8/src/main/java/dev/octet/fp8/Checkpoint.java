package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.SafetensorsWriter;
import dev.octet.core.safetensors.TensorSource;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;

/**
 * FP8 weights under the names that DeepSeek-V3's published checkpoints give them: beside {@code X.weight}, E4M3 codes
 * {@code [N, K]}, lies {@code X.weight_scale_inv}, FP32 {@code [ceil(N/128), ceil(K/128)]} in row-major order, and a
 * weight's value is its code times the scale of its block of 128x128. Scales are FP32 even where they are powers of
 * two.
 *
 * <p>Nothing is copied: a weight is two views of the source, and ends with it.
 *
 * <p>Safe for use by several threads.
 */
public final class Checkpoint implements AutoCloseable {
    /** What the name of a weight is followed by in the name of its scales. */
    public static final String SCALE_SUFFIX = "_scale_inv";

    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final TensorSource source;
    private final ScaleFormat format;

    /**
     * Sees a source as a checkpoint.
     *
     * @param source where the tensors are; closed with the checkpoint
     * @param format {@link ScaleFormat#F32}, or {@link ScaleFormat#POWER_OF_TWO} if all scales are known to be such
     * @throws IllegalArgumentException if the format is {@link ScaleFormat#E8M0}, which checkpoints do not have
     */
    public Checkpoint(TensorSource source, ScaleFormat format) {
        if (format == ScaleFormat.E8M0) {
            throw new IllegalArgumentException("format is E8M0, a checkpoint's scales are FP32: F32 or POWER_OF_TWO");
        }
        this.source = Objects.requireNonNull(source, "source");
        this.format = format;
    }

    /**
     * Opens a checkpoint. If a {@code config.json} lies in the same folder and has a {@code quantization_config}, that
     * must be one that can be read, {@code fmt} "e4m3" in blocks of 128x128, and its {@code scale_fmt} "ue8m0" makes
     * the format {@link ScaleFormat#POWER_OF_TWO}; else the format is {@link ScaleFormat#F32}.
     *
     * @param path a safetensors file, an index of several, or a folder with either; see {@link TensorSource#open}
     * @return the checkpoint, for the caller to close
     * @throws IOException if a file can't be read, breaks its format's rules, or asks for a quantisation that Octet
     *     has not; the message names the file and the fault
     */
    public static Checkpoint open(Path path) throws IOException {
        Path config = Files.isDirectory(path) ? path.resolve("config.json") : path.resolveSibling("config.json");
        ScaleFormat format = Files.exists(config) ? QuantizationConfig.scaleFormat(config) : ScaleFormat.F32;
        return new Checkpoint(TensorSource.open(path), format);
    }

    /** {@return all tensors, quantised or not} */
    public TensorSource source() {
        return source;
    }

    /** {@return how the scales of all weights are rounded} */
    public ScaleFormat scaleFormat() {
        return format;
    }

    /** {@return the names of the tensors that have scales, in the order of the source} */
    public List<String> weights() {
        Set<String> names = source.names();
        List<String> weights = new ArrayList<>();
        for (String name : names) {
            if (names.contains(name + SCALE_SUFFIX)) {
                weights.add(name);
            }
        }
        return weights;
    }

    /**
     * Reads a weight and its scales, without a copy.
     *
     * @param name the weight's name, such as {@code model.layers.0.mlp.down_proj.weight}
     * @return codes {@code [N, K]} with granularity {@link Granularity#BLOCK_128X128}, valid as long as this is open
     * @throws IllegalArgumentException if there is no such weight, its scales are missing, a dtype or shape does not
     *     fit, or a scale is no power of two though {@link #scaleFormat()} says so; the message names the tensor
     */
    public ScaledTensor weight(String name) {
        Tensor codes = source.tensor(name);
        String scaleName = name + SCALE_SUFFIX;
        if (codes.dtype() != DType.F8_E4M3 || codes.shape().rank() != 2) {
            throw new IllegalArgumentException("'" + name + "' is " + codes.dtype() + " " + codes.shape()
                    + ", a quantised weight is a matrix of F8_E4M3");
        }
        if (!source.contains(scaleName)) {
            throw new IllegalArgumentException("'" + name + "' has no scales: there is no tensor '" + scaleName + "'");
        }
        Tensor scales = source.tensor(scaleName);
        Shape grid = Granularity.BLOCK_128X128.scaleShape(codes.dim(0), codes.dim(1));
        if (scales.dtype() != DType.F32 || !scales.shape().equals(grid)) {
            throw new IllegalArgumentException("'" + scaleName + "' is " + scales.dtype() + " " + scales.shape()
                    + ", the scales of a weight " + codes.shape() + " are F32 " + grid);
        }
        if (format.isPowerOfTwo()) {
            checkPowersOfTwo(scaleName, scales);
        }
        return new ScaledTensor(codes, scales, new Scaling(Granularity.BLOCK_128X128, format));
    }

    private static void checkPowersOfTwo(String name, Tensor scales) {
        MemorySegment s = scales.segment();
        for (long i = 0; i < scales.shape().elements(); i++) {
            float scale = s.get(F32, 4 * i);
            if (scale <= 0 || Float.compare(Fp8Codec.ceilPowerOfTwo(scale), scale) != 0) { // NaN and infinity may stay
                throw new IllegalArgumentException("'" + name + "' has the scale " + scale + " at ["
                        + i / scales.dim(1) + ", " + i % scales.dim(1) + "], the checkpoint promises powers of two");
            }
        }
    }

    /**
     * Writes weights and other tensors to one safetensors file, which is replaced at once or not at all; see
     * {@link SafetensorsWriter}. Scales are written as FP32 whatever their format; the file does not say whether they
     * are powers of two, a {@code config.json} beside it does.
     *
     * @param file where to
     * @param weights E4M3 matrices with granularity {@link Granularity#BLOCK_128X128}, by name; on the CPU
     * @param others tensors to write as they are, by name; on the CPU
     * @throws IllegalArgumentException if a weight has another format or granularity, or two tensors have one name;
     *     nothing was written then
     * @throws IOException if writing fails; the path then holds what it held before
     */
    public static void write(Path file, Map<String, ScaledTensor> weights, Map<String, Tensor> others)
            throws IOException {
        for (Map.Entry<String, ScaledTensor> e : weights.entrySet()) {
            ScaledTensor w = e.getValue();
            if (w.format() != DType.F8_E4M3 || w.scaling().granularity() != Granularity.BLOCK_128X128) {
                throw new IllegalArgumentException("weight '" + e.getKey() + "' is " + w.format() + " with granularity "
                        + w.scaling().granularity() + ", a checkpoint has F8_E4M3 with BLOCK_128X128");
            }
        }
        Map<String, Tensor> tensors = new HashMap<>(others);
        List<Tensor> widened = new ArrayList<>();
        try {
            Set<String> twice = new TreeSet<>();
            weights.forEach((name, w) -> {
                Tensor scales = w.scales();
                if (w.scaling().format() == ScaleFormat.E8M0) {
                    scales = widen(scales);
                    widened.add(scales);
                }
                if (tensors.put(name, w.codes()) != null) {
                    twice.add(name);
                }
                if (tensors.put(name + SCALE_SUFFIX, scales) != null) {
                    twice.add(name + SCALE_SUFFIX);
                }
            });
            if (!twice.isEmpty()) {
                throw new IllegalArgumentException("weights and others name the same tensors: " + twice);
            }
            SafetensorsWriter.write(file, tensors, Map.of("format", "pt")); // without it some loaders refuse a file
        } finally {
            widened.forEach(Tensor::close);
        }
    }

    /** FP32 of E8M0, exactly. */
    private static Tensor widen(Tensor scales) {
        try (Tensor codes = scales.copy()) {
            Tensor wide = Tensor.allocate(DType.F32, scales.shape());
            for (long i = 0; i < scales.shape().elements(); i++) {
                wide.segment().set(F32, 4 * i, Fp8Codec.decodeE8M0(codes.segment().get(ValueLayout.JAVA_BYTE, i)));
            }
            return wide;
        }
    }

    /** Closes the source, which ends the use of all weights. Closing again does nothing. */
    @Override
    public void close() {
        source.close();
    }
}
