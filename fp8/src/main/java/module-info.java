/**
 * FP8 with fine-grained scales: number formats, quantisers and GEMM, on the CPU, and on NVIDIA GPUs where module
 * {@code dev.octet.cuda} is on the path.
 */
@SuppressWarnings("module") // the name ends in a digit, like the format's
module dev.octet.fp8 {
    requires transitive dev.octet.core;
    requires static dev.octet.cuda;
    requires static org.jspecify;
    requires static jdk.incubator.vector;

    exports dev.octet.fp8;
    exports dev.octet.fp8.reference;
    exports dev.octet.fp8.spi;

    uses dev.octet.fp8.spi.Fp8Backend;

    provides dev.octet.fp8.spi.Fp8Backend with
            dev.octet.fp8.ffm.NativeBackend,
            dev.octet.fp8.cpu.VectorBackend,
            dev.octet.fp8.cpu.ScalarBackend,
            dev.octet.fp8.cuda.CudaBackend,
            dev.octet.fp8.reference.ReferenceBackend;
    provides dev.octet.core.spi.Component with
            dev.octet.fp8.Fp8Component;
}
