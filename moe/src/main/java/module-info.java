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
    exports dev.octet.moe.traffic;
}
