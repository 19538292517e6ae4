/**
 * Multi-head latent attention: the compressed KV cache, the projections around it, and attention over it, on the CPU and
 * behind one interface for other backends.
 */
module dev.octet.mla {
    requires transitive dev.octet.fp8;
    requires ejml.core;
    requires ejml.ddense;
    requires static org.jspecify;
    requires static jdk.incubator.vector;

    exports dev.octet.mla;
    exports dev.octet.mla.factor;
    exports dev.octet.mla.reference;
    exports dev.octet.mla.spi;

    uses dev.octet.mla.spi.MlaBackend;

    provides dev.octet.mla.spi.MlaBackend with
            dev.octet.mla.ffm.NativeBackend,
            dev.octet.mla.cpu.VectorBackend,
            dev.octet.mla.cpu.ScalarBackend,
            dev.octet.mla.reference.ReferenceBackend;
    provides dev.octet.core.spi.Component with
            dev.octet.mla.MlaComponent;
}
