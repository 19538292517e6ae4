/**
 * What a routing costs between machines: experts on GPUs and nodes, the tokens and bytes that cross, and what chance
 * and link speeds say about them (DeepSeek-V3 &sect;3.2.2, "Insights into DeepSeek-V3" &sect;2.3 and &sect;4.3).
 */
@NullMarked
package dev.octet.moe.traffic;

import org.jspecify.annotations.NullMarked;
