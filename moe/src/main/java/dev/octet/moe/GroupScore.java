package dev.octet.moe;

/** What a group of experts is worth when groups are chosen. */
public enum GroupScore {
    /** The largest selection score in the group. DeepSeek-V2. */
    MAX,
    /** The sum of the two largest selection scores in the group. DeepSeek-V3. */
    TOP2_SUM
}
