package dev.octet.mla.reference;

import dev.octet.core.Tensor;

/** One matrix for each head: three loops around a sum in FP64. */
final class ReferenceHeadProjection {
    private ReferenceHeadProjection() {}

    static void project(Tensor x, Tensor weight, Tensor out) {
        HostTensor values = new HostTensor(x);
        HostTensor matrices = new HostTensor(weight);
        HostTensor results = new HostTensor(out);
        int tokens = Math.toIntExact(x.dim(0));
        int heads = Math.toIntExact(x.dim(1));
        double[] result = new double[Math.toIntExact(weight.dim(1))];
        for (int t = 0; t < tokens; t++) {
            for (int h = 0; h < heads; h++) {
                double[] value = values.row(t, h);
                for (int n = 0; n < result.length; n++) {
                    double[] row = matrices.row(h, n);
                    double sum = 0;
                    for (int k = 0; k < value.length; k++) {
                        sum += row[k] * value[k];
                    }
                    result[n] = sum;
                }
                results.setRow(t, h, result);
            }
        }
    }
}
