package dev.octet.mla.reference;

import dev.octet.core.Tensor;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.Ragged;
import dev.octet.mla.reference.ReferenceAttention.Result;
import dev.octet.mla.spi.PagedLatents;
import org.jspecify.annotations.Nullable;

/** {@link ReferenceAttention} on tensors: sequence by sequence, head by head, each result rounded once. */
final class AttentionTensors {
    private AttentionTensors() {}

    static void decode(Tensor query, PagedLatents keys, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse) {
        HostTensor q = new HostTensor(query);
        HostTensor o = new HostTensor(out);
        HostTensor l = lse == null ? null : new HostTensor(lse);
        int heads = Math.toIntExact(query.dim(1));
        int firstQuery = 0;
        for (int s = 0; s < keys.sequences(); s++) {
            double[][] records = LatentRecords.rows(keys, s);
            for (int h = 0; h < heads; h++) {
                double[][] head = rows(q, firstQuery, queries[s], h);
                write(ReferenceAttention.attend(head, records, records, keys.kvLoraRank(), options), firstQuery, h, o,
                        l);
            }
            firstQuery += queries[s];
        }
    }

    static void prefill(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse) {
        HostTensor q = new HostTensor(query);
        HostTensor k = new HostTensor(keys);
        HostTensor r = ropeKeys == null ? null : new HostTensor(ropeKeys);
        HostTensor v = new HostTensor(values);
        HostTensor o = new HostTensor(out);
        HostTensor l = lse == null ? null : new HostTensor(lse);
        int heads = Math.toIntExact(query.dim(1));
        int valueDim = Math.toIntExact(values.dim(2));
        int firstQuery = 0;
        int firstKey = 0;
        for (int s = 0; s < lengths.sequences(); s++) {
            int m = lengths.queries()[s];
            int n = lengths.keys()[s];
            double[][] shared = new double[n][0];
            for (int j = 0; j < n && r != null; j++) {
                shared[j] = r.row(firstKey + j);
            }
            for (int h = 0; h < heads; h++) {
                double[][] headKeys = ReferenceAttention.join(rows(k, firstKey, n, h), shared);
                write(ReferenceAttention.attend(rows(q, firstQuery, m, h), headKeys, rows(v, firstKey, n, h), valueDim,
                        options), firstQuery, h, o, l);
            }
            firstQuery += m;
            firstKey += n;
        }
    }

    static void merge(Tensor outA, Tensor lseA, Tensor outB, Tensor lseB, Tensor out, Tensor lse) {
        HostTensor oa = new HostTensor(outA);
        HostTensor la = new HostTensor(lseA);
        HostTensor ob = new HostTensor(outB);
        HostTensor lb = new HostTensor(lseB);
        HostTensor o = new HostTensor(out);
        HostTensor l = new HostTensor(lse);
        double[] row = new double[Math.toIntExact(out.dim(2))];
        for (int t = 0; t < out.dim(0); t++) {
            for (int h = 0; h < out.dim(1); h++) {
                double joined = ReferenceAttention.merge(oa.row(t, h), la.get(t, h), ob.row(t, h), lb.get(t, h), row);
                o.setRow(t, h, row);
                l.set(t, h, joined);
            }
        }
    }

    private static double[][] rows(HostTensor tensor, int from, int count, int head) {
        double[][] rows = new double[count][];
        for (int i = 0; i < count; i++) {
            rows[i] = tensor.row(from + i, head);
        }
        return rows;
    }

    private static void write(Result result, int firstQuery, int head, HostTensor out, @Nullable HostTensor lse) {
        for (int i = 0; i < result.lse().length; i++) {
            out.setRow(firstQuery + i, head, result.out()[i]);
            if (lse != null) {
                lse.set(firstQuery + i, head, result.lse()[i]);
            }
        }
    }
}
