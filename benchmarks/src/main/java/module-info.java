/**
 * Octet's benchmarks, the limits and peers they are measured against, and the command line.
 */
module dev.octet.benchmarks {
    requires dev.octet.cuda;
    requires dev.octet.fp8;
    requires dev.octet.mla;
    requires dev.octet.moe;
    requires static org.jspecify;
    requires static jdk.incubator.vector;
    requires java.desktop;
    requires java.management;
    requires jdk.management;
    requires jmh.core;
    requires info.picocli;
    requires org.knowm.xchart;
    requires org.bytedeco.javacpp;
    requires org.bytedeco.openblas;
    requires org.bytedeco.pytorch;

    opens dev.octet.benchmarks to info.picocli;
    opens dev.octet.benchmarks.demo to info.picocli;

    uses dev.octet.cuda.KernelCatalog;

    provides dev.octet.cuda.KernelCatalog with
            dev.octet.benchmarks.gpu.LaunchKernelCatalog;
}
