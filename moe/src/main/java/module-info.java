/**
 * Mixture of experts: the gate, the way of tokens to experts and back, the experts themselves, and where they live.
 */
module dev.octet.moe {
    requires transitive dev.octet.fp8;
    requires static org.jspecify;
    requires static jdk.incubator.vector;

    exports dev.octet.moe;
    exports dev.octet.moe.balance;
    exports dev.octet.moe.placement;
    exports dev.octet.moe.reference;
    exports dev.octet.moe.spi;
    exports dev.octet.moe.traffic;

    uses dev.octet.moe.spi.MoeBackend;

    provides dev.octet.moe.spi.MoeBackend with
            dev.octet.moe.ffm.NativeBackend,
            dev.octet.moe.cpu.VectorBackend,
            dev.octet.moe.cpu.ScalarBackend,
            dev.octet.moe.reference.ReferenceBackend;
    provides dev.octet.core.spi.Component with
            dev.octet.moe.MoeComponent;
}
