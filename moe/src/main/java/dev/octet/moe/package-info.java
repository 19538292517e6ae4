/**
 * Mixture of experts (DeepSeek-V2 &sect;2.2, DeepSeek-V3 &sect;2.1.2): which experts a token goes to, how it gets there
 * and back, and what they compute. {@link dev.octet.moe.Moe} holds the operations, {@link dev.octet.moe.GateConfig} a
 * model's rule, {@link dev.octet.moe.Routing} what the gate chose, {@link dev.octet.moe.TokenPermutation} the tokens'
 * order by expert; {@link dev.octet.moe.ExpertWeights} and {@link dev.octet.moe.ExpertMlp} are the experts themselves.
 * {@snippet lang=java :
 * GateConfig rule = GateConfig.V3;
 * try (Routing routing = Routing.allocate(tokens, rule.topK());
 *         ExpertWeights weights = ExpertWeights.read(checkpoint, layer, rule.experts())) {
 *     Moe.auto().routerLogits(hidden, centroids, logits);                      // [tokens, experts], F32
 *     Moe.auto().gate(logits, bias, rule, GateOptions.NONE, routing);          // topK experts and weights a token
 *     new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).run(hidden, routing, out);  // [tokens, hidden], F32 or BF16
 * }
 * }
 *
 * <p>How even the load is, where experts lie and what crosses nodes: {@link dev.octet.moe.balance},
 * {@link dev.octet.moe.placement}, {@link dev.octet.moe.traffic}. Any thread may call any operation, on different
 * outputs. Wrong arguments throw {@link IllegalArgumentException} with the argument's name, what came and what fits,
 * and outputs are untouched then.
 */
package dev.octet.moe;

import org.jspecify.annotations.NullMarked;
