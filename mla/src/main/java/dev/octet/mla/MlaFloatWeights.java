package dev.octet.mla;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a latent attention layer before they are quantised, each under the name of DeepSeek's published
 * checkpoints in short. Matrices are {@code [outputs, inputs]}.
 *
 * @param qA {@code q_a_proj}, {@code [qLoraRank, hiddenSize]}, or without compression {@code q_proj},
 *     {@code [heads * qkHeadDim, hiddenSize]}
 * @param qNorm {@code q_a_layernorm}, {@code [qLoraRank]}; null without compression
 * @param qB {@code q_b_proj}, {@code [heads * qkHeadDim, qLoraRank]}, of each head first the rows without position,
 *     then the rotary ones; null without compression
 * @param kvA {@code kv_a_proj_with_mqa}, {@code [kvLoraRank + qkRopeHeadDim, hiddenSize]}
 * @param kvNorm {@code kv_a_layernorm}, {@code [kvLoraRank]}
 * @param kvB {@code kv_b_proj}, {@code [heads * (qkNopeHeadDim + vHeadDim), kvLoraRank]}, of each head first the
 *     key's rows
 * @param o {@code o_proj}, {@code [hiddenSize, heads * vHeadDim]}
 */
public record MlaFloatWeights(Tensor qA, @Nullable Tensor qNorm, @Nullable Tensor qB, Tensor kvA, Tensor kvNorm,
        Tensor kvB, Tensor o) implements AutoCloseable {
    /**
     * Makes weights up, for tests and measurements: BF16 matrices of normal variates with the deviation
     * {@code 1 / sqrt(inputs)}, so that outputs are about as large as inputs, and F32 norms around 1.
     *
     * @param config the dimensions
     * @param seed the same seed gives the same weights
     * @return weights that own their memory; close them to free it
     */
    public static MlaFloatWeights random(MlaConfig config, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Variates variates = new Variates(seed);
        int hidden = config.hiddenSize();
        int heads = config.heads();
        boolean compressed = config.compressesQueries();
        return new MlaFloatWeights(variates.matrix(random.split(), config.queryRows(), hidden),
                compressed ? variates.norm(config.qLoraRank()) : null,
                compressed ? variates.matrix(random.split(), (long) heads * config.qkHeadDim(), config.qLoraRank())
                        : null,
                variates.matrix(random.split(), config.latentDim(), hidden), variates.norm(config.kvLoraRank()),
                variates.matrix(random.split(), (long) heads * (config.qkNopeHeadDim() + config.vHeadDim()),
                        config.kvLoraRank()),
                variates.matrix(random.split(), hidden, (long) heads * config.vHeadDim()));
    }

    /** Closes all of them. */
    @Override
    public void close() {
        qA.close();
        if (qNorm != null) {
            qNorm.close();
        }
        if (qB != null) {
            qB.close();
        }
        kvA.close();
        kvNorm.close();
        kvB.close();
        o.close();
    }

    /** A table of normal variates to draw from: 187 million of them for one layer of V3 would take a minute to make. */
    private static final class Variates {
        private static final int BITS = 16;
        private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT;

        private final Random random;
        private final float[] table = new float[1 << BITS];

        Variates(long seed) {
            random = new Random(seed);
            for (int i = 0; i < table.length; i++) {
                table[i] = (float) random.nextGaussian();
            }
        }

        Tensor matrix(RandomGenerator generator, long rows, long columns) {
            short[] scaled = new short[table.length];
            for (int i = 0; i < table.length; i++) {
                scaled[i] = BFloat16.fromFloat((float) (table[i] / Math.sqrt(columns)));
            }
            Tensor matrix = Tensor.allocate(DType.BF16, Shape.of(rows, columns));
            MemorySegment s = matrix.segment();
            long bits = 0;
            for (long i = 0; i < rows * columns; i++) {
                bits = i % 4 == 0 ? generator.nextLong() : bits >>> BITS;
                s.set(I16, 2 * i, scaled[(int) bits & 0xFFFF]);
            }
            return matrix;
        }

        Tensor norm(int size) {
            float[] values = new float[size];
            for (int i = 0; i < size; i++) {
                values[i] = 1 + 0.1f * (float) random.nextGaussian();
            }
            return Tensor.of(values, size);
        }
    }
}
