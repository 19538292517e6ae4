/**
 * The safetensors container: {@link dev.octet.core.safetensors.Safetensors} reads one file,
 * {@link dev.octet.core.safetensors.ShardedSafetensors} a model that is spread over several,
 * {@link dev.octet.core.safetensors.SafetensorsWriter} writes one. Both readers are a
 * {@link dev.octet.core.safetensors.TensorSource}, and neither copies a tensor's bytes.
 */
@NullMarked
package dev.octet.core.safetensors;

import org.jspecify.annotations.NullMarked;
