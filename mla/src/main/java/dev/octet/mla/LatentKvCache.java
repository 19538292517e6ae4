package dev.octet.mla;

import dev.octet.core.Device;
import dev.octet.core.Tensor;
import dev.octet.mla.spi.PagedLatents;
import java.util.List;

/** A paged cache of latents and rotary keys. */
public final class LatentKvCache implements AutoCloseable {
    private final CacheFormat format;
    private final int kvLoraRank;
    private final int ropeDim;
    /** U8 {@code [layers, pages, pageSize, bytesPerToken]}. */
    private final Tensor records;

    LatentKvCache(CacheFormat format, int kvLoraRank, int ropeDim, Tensor records) {
        this.format = format;
        this.kvLoraRank = kvLoraRank;
        this.ropeDim = ropeDim;
        this.records = records;
    }

    /** {@return how a token lies in its bytes} */
    public CacheFormat format() {
        return format;
    }

    /** {@return values of a latent} */
    public int kvLoraRank() {
        return kvLoraRank;
    }

    /** {@return values of a rotary key} */
    public int ropeDim() {
        return ropeDim;
    }

    /** {@return where the records lie} */
    public Device device() {
        return records.device();
    }

    @Override
    public void close() {
        records.close();
    }

    /** One sequence of tokens. */
    public static final class Sequence {
        Sequence() {}
    }

    /** Keeps sequences from being changed while a backend works on them. */
    static final class Lease implements AutoCloseable {
        private final PagedLatents latents;

        private Lease(PagedLatents latents) {
            this.latents = latents;
        }

        PagedLatents latents() {
            return latents;
        }

        @Override
        public void close() {}
    }

    Lease lease(int layer, List<Sequence> sequences) {
        Tensor pages = records.slice(0, layer, layer + 1).reshape(records.dim(1), records.dim(2), records.dim(3));
        return new Lease(new PagedLatents(format, kvLoraRank, ropeDim, pages, new int[sequences.size()][],
                new int[sequences.size()]));
    }
}
