/**
 * Which expert lies on which GPU, and how many replicas of it there are (DeepSeek-V3 &sect;3.4, redundant experts).
 */
@NullMarked
package dev.octet.moe.placement;

import org.jspecify.annotations.NullMarked;
