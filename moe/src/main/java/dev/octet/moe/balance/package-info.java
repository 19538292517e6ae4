/**
 * Even load without dropping tokens (DeepSeek-V3 &sect;2.1.2): how uneven a routing is, the bias that follows it, and
 * the loss of a sequence.
 */
@NullMarked
package dev.octet.moe.balance;

import org.jspecify.annotations.NullMarked;
