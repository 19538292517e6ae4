package dev.octet.mla;

import dev.octet.core.spi.Component;
import java.util.List;

/** Tells {@link dev.octet.core.Octet#describe()} which backend each operation of latent attention runs on. */
public final class MlaComponent implements Component {
    private static final List<String> OPERATIONS = List.of("mla.rmsNorm", "mla.rope", "mla.projectHeads",
            "mla.prefill", "mla.decode", "mla.merge", "mla.cache");

    /** For the service loader. */
    public MlaComponent() {}

    @Override
    public String name() {
        return "mla";
    }

    @Override
    public List<Path> paths() {
        return MlaBackends.FOUND.paths(OPERATIONS);
    }
}
