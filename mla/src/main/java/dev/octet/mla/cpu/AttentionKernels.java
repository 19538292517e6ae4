package dev.octet.mla.cpu;

/**
 * The inner loops of {@link FlashAttention}, over one chunk of keys and one panel of rows (queries that share keys and
 * values).
 *
 * <pre>
 * packed queries   q[panel][d][width]                       width = rows of the panel, a multiple of {@link #lanes}
 * chunk of keys    k[d / 128][CHUNK keys][d % 128]          so are values
 * scores           s[key][panel]                            panel = most rows; then weights, in the same place
 * sums             o[row][pitch]                            pitch = values of a row, a multiple of {@link #valueStep}
 * </pre>
 */
interface AttentionKernels {
    /** Dimensions that lie together: 64 rows of queries by 128 are 32 KiB and stay in the first-level cache. */
    int BLOCK = 128;
    /** Most keys of a chunk. A chunk of 576 dimensions takes 240 KiB, beside queries and sums in a second-level cache. */
    int CHUNK = 96;
    /** What the number of keys that {@link #scores} takes is a multiple of. */
    int KEY_STEP = 24;
    /** How many rows more than it is told {@link #values} may read and write. */
    int SPARE_ROWS = 2;
    /** Floats from one block of a chunk to the next. */
    int BLOCK_STRIDE = CHUNK * BLOCK;

    /** {@return what the width of a panel is a multiple of; divides 16} */
    int lanes();

    /** {@return most rows of a panel} */
    int panel();

    /** {@return what the pitch of sums is a multiple of; divides 128} */
    int valueStep();

    /**
     * {@return where a dimension of a latent lies that was decoded from E4M3; the order of all else is kept}
     *
     * @param d the dimension
     */
    int codePlace(int d);

    /** {@return where a dimension of a key lies in a chunk} */
    static int at(int key, int d) {
        return d / BLOCK * BLOCK_STRIDE + key * BLOCK + d % BLOCK;
    }

    /**
     * Adds products of queries and keys to scores.
     *
     * @param width rows of the panel
     * @param dims dimensions
     * @param keys a multiple of {@link #KEY_STEP}
     */
    void scores(float[] q, int qi, int width, int dims, float[] k, int keys, float[] s);

    /**
     * Sets the scores of keys that a row does not see to -Infinity.
     *
     * @param firstKey the number of the chunk's first key
     * @param first the first key that a row sees
     * @param end the key after the last one
     * @param row the panel's first row in these arrays
     */
    void mask(float[] s, int width, int keys, int firstKey, int[] first, int[] end, int row);

    /**
     * Turns scores into weights {@code exp2(factor * (score - max))}, where max is the largest score of the row so far,
     * 0 if there is none. A score that is a NaN is not the largest one, and its weight is a NaN.
     *
     * @param s the scores; one more line than there are keys is overwritten
     * @param factor positive
     * @param max largest scores so far, -Infinity at first
     * @param sum sums of weights, brought up to date
     * @param alpha set to what earlier sums are to be multiplied by
     * @param row the panel's first row in these arrays
     */
    void weights(float[] s, int width, int keys, float factor, float[] max, float[] sum, float[] alpha,
            int row);

    /**
     * Adds values times weights to sums.
     *
     * @param rows a multiple of 4; the sums have {@link #SPARE_ROWS} more
     * @param pitch dimensions, a multiple of {@link #valueStep}
     */
    void values(float[] p, int rows, float[] v, int keys, float[] o, int oi, int pitch);

    /** {@return whether values have neither NaN nor infinity} */
    boolean finite(float[] v, int keys, int dims);

    /** Multiplies. */
    void scale(float[] x, int at, int n, float factor);

    /** Adds {@code factor * x} to y. */
    void addScaled(float factor, float[] x, int xi, float[] y, int yi, int n);

    /**
     * Reads consecutive values.
     *
     * @param address of the first
     * @param bf16 whether they are BF16, else F32
     */
    void load(long address, boolean bf16, int n, float[] to, int at);

    /**
     * Reads consecutive values into a chunk.
     *
     * @param key which key of the chunk
     * @param firstDim the first one's dimension
     */
    void loadKey(long address, boolean bf16, int n, float[] k, int key, int firstDim);

    /**
     * Decodes a latent in the FP8 formats.
     *
     * @param codes address of the codes
     * @param scales address of the scales
     * @param n codes, a multiple of 128
     */
    void loadCodes(long codes, long scales, int n, float[] k, int key);

    /** Writes consecutive values, rounded to nearest. */
    void store(float[] from, int at, int n, long address, boolean bf16);
}
