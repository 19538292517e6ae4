package dev.octet.mla;

import dev.octet.core.json.ConfigJson;
import java.io.IOException;
import java.nio.file.Path;

/**
 * The dimensions of multi-head latent attention, named as in Hugging Face's {@code config.json}.
 *
 * @param hiddenSize values of a token's hidden state
 * @param layers layers of the model that have a cache
 * @param heads query heads
 * @param qLoraRank values of the compressed query, 0 if queries are not compressed
 * @param kvLoraRank values of the latent that keys and values are made from
 * @param qkNopeHeadDim values of a head's query and key that carry no position
 * @param qkRopeHeadDim values of a head's query and of the shared key that carry it; even
 * @param vHeadDim values of a head's value
 * @param rmsNormEps what RMSNorm adds to the mean square
 * @param rope the rotary embedding
 */
public record MlaConfig(int hiddenSize, int layers, int heads, int qLoraRank, int kvLoraRank, int qkNopeHeadDim,
        int qkRopeHeadDim, int vHeadDim, float rmsNormEps, RopeConfig rope) {
    /** DeepSeek-V3, 671B parameters. */
    public static final MlaConfig V3 =
            new MlaConfig(7168, 61, 128, 1536, 512, 128, 64, 128, 1e-6f, RopeConfig.deepSeek(1.0));
    /** DeepSeek-V2, 236B parameters. */
    public static final MlaConfig V2 =
            new MlaConfig(5120, 60, 128, 1536, 512, 128, 64, 128, 1e-6f, RopeConfig.deepSeek(1.0));
    /** DeepSeek-V2-Lite, 16B parameters; queries are not compressed. */
    public static final MlaConfig V2_LITE =
            new MlaConfig(2048, 27, 16, 0, 512, 128, 64, 128, 1e-6f, RopeConfig.deepSeek(0.707));

    /** Thousands of times what there is, so that sums of two such extents are ints. */
    static final int MAX_EXTENT = 1 << 24;

    /**
     * Checks the dimensions.
     *
     * @throws IllegalArgumentException if one is not positive (a {@code qLoraRank} may be 0) or above 2<sup>24</sup>,
     *     {@code qkRopeHeadDim} is odd, all heads' queries have more than 2<sup>31</sup>-1 values, or {@code
     *     rmsNormEps} is not finite; the message names it
     */
    public MlaConfig {
        positive("hiddenSize", hiddenSize);
        positive("layers", layers);
        positive("heads", heads);
        if (qLoraRank < 0 || qLoraRank > MAX_EXTENT) {
            throw new IllegalArgumentException(
                    "qLoraRank is " + qLoraRank + ", it must be 1 to " + MAX_EXTENT + ", or 0 for none");
        }
        positive("kvLoraRank", kvLoraRank);
        positive("qkNopeHeadDim", qkNopeHeadDim);
        positive("qkRopeHeadDim", qkRopeHeadDim);
        if (qkRopeHeadDim % 2 != 0) {
            throw new IllegalArgumentException("qkRopeHeadDim is " + qkRopeHeadDim + ", it must be even");
        }
        positive("vHeadDim", vHeadDim);
        if ((long) heads * (qkNopeHeadDim + qkRopeHeadDim) > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("heads is " + heads + ", which with " + (qkNopeHeadDim + qkRopeHeadDim)
                    + " values of a query each makes more than 2^31-1");
        }
        if (!(rmsNormEps > 0) || rmsNormEps == Float.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("rmsNormEps is " + rmsNormEps + ", it must be positive and finite");
        }
    }

    /**
     * Reads a Hugging Face {@code config.json}. Fields that Octet does not know are passed over; {@code q_lora_rank}
     * may be absent or null, and so may {@code rope_scaling}, whose {@code type} or {@code rope_type} is {@code yarn}.
     * Newer files' {@code rope_parameters} are understood, too.
     *
     * @param file the file
     * @return the dimensions
     * @throws IOException if the file can't be read, is no JSON, or a field is missing, stands twice, has another type
     *     than it must, is out of range or contradicts another; the message names the file and the field
     */
    public static MlaConfig read(Path file) throws IOException {
        return ConfigJson.read(file, MlaConfigJson.FIELDS, MlaConfigJson::config);
    }

    /**
     * Reads the text of a {@code config.json}, as {@link #read} does.
     *
     * @param json the text
     * @return the dimensions
     * @throws IllegalArgumentException if the text is not as it must be; the message names the field
     */
    public static MlaConfig parse(String json) {
        return MlaConfigJson.config(ConfigJson.parse(json, MlaConfigJson.FIELDS));
    }

    private static void positive(String name, int value) {
        if (value < 1 || value > MAX_EXTENT) {
            throw new IllegalArgumentException(name + " is " + value + ", it must be 1 to " + MAX_EXTENT);
        }
    }

    /** {@return values of a head's query and key: 192 in all DeepSeek models} */
    public int qkHeadDim() {
        return qkNopeHeadDim + qkRopeHeadDim;
    }

    /** {@return values that the cache holds for a token: 576 in all DeepSeek models} */
    public int latentDim() {
        return kvLoraRank + qkRopeHeadDim;
    }

    /** {@return whether queries pass through a latent of their own} */
    public boolean compressesQueries() {
        return qLoraRank > 0;
    }

    /**
     * {@return rows of the projection of the hidden state that gives queries: their latent or, without one, all heads}
     */
    public int queryRows() {
        return compressesQueries() ? qLoraRank : heads * qkHeadDim();
    }

    /**
     * {@return what scores are multiplied by: {@code qkHeadDim^-0.5}, times the square of
     * {@link RopeConfig.Yarn#softmaxFactor()} if there is YaRN (as the published inference code does for contexts
     * beyond the original)}
     */
    public float softmaxScale() {
        double factor = rope.yarn() == null ? 1 : rope.yarn().softmaxFactor();
        return (float) (factor * factor / Math.sqrt(qkHeadDim()));
    }
}
