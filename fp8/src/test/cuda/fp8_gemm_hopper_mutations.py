#!/usr/bin/env python3
"""Breaks fp8_gemm_hopper.cu in one place after the other and asks whether the emulation notices.

Prints a row for each: what was broken, in which variant, how many products failed, and the first complaint. Ends with 1 if
any break went unnoticed. Takes about three minutes: python3 fp8_gemm_hopper_mutations.py [compiler [text]], where only breaks
whose name has the text are tried.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
KERNEL = os.path.join(HERE, "../../main/resources/dev/octet/fp8/cuda")
FILES = {n: open(os.path.join(KERNEL, n)).read() for n in (
    "fp8_gemm_hopper.cu", "fp8_gemm_hopper_schedule.cuh", "fp8_gemm_hopper_load.cuh", "fp8_gemm_hopper_multiply.cuh",
    "fp8_gemm_hopper_store.cuh")}
VARIANTS = {}
for text in open(os.path.join(HERE, "fp8_gemm_hopper_variants.inc")).read().split("#define OCTET_VARIANT ")[1:]:
    VARIANTS[text.split()[0]] = "#define OCTET_VARIANT " + text


def sub(old, new, count=1):
    def change(text):
        return text.replace(old, new) if count == 0 else text.replace(old, new, count)
    change.old = old
    return change


MUTATIONS = [
    ("no wait for a full stage","wide128",sub("            wait_full();\n            Scales s = scales(block);","            Scales s = scales(block);")),
    ("stage given back before its wgmma have ended","wide128",sub("""                wgmma_wait<0>();
                if (slab == SLABS - 1) {
                    give_back(ring.stage);
                }""","""                if (slab == SLABS - 1) {
                    give_back(ring.stage);
                }
                wgmma_wait<0>();""")),
    ("no wait for wgmma","wide128",sub("                wgmma_wait<0>();\n","")),
    ("no wgmma.fence","wide128",sub("    wgmma_fence();\n#pragma","#pragma")),
    ("no wgmma.commit_group","wide128",sub("    wgmma_commit();\n}","}")),
    ("no proxy fence before the TMA store","wide128",sub("        fence_async();\n        named_barrier","        named_barrier")),
    ("no barrier before the TMA store","wide128",sub("        fence_async();\n        named_barrier(1 + place.group, 128);","        fence_async();")),
    ("no barrier before results are staged","wide128",sub("        named_barrier(1 + place.group, 128);\n        // Lane","        // Lane")),
    ("staging overwritten before the store has read it","wide128",sub("            tma_store_wait_read();\n","")),
    ("block ends before its stores have read","wide128",sub("            tma_store_wait();\n","")),
    ("results not swizzled","wide128",sub("(column % LINE / 8) ^ (line >> 7 & (LINE / 8 - 1))","(column % LINE / 8)")),
    ("results of 64-byte lines swizzled as 128","wide160",sub("(line >> 7 & (LINE / 8 - 1))","(line >> 7 & 7)")),
    ("first round waits for the wrong parity","wide128",sub("mbarrier_wait(empty + ring.stage * 8, ring.phase ^ 1)","mbarrier_wait(empty + ring.stage * 8, ring.phase)")),
    ("phase never changes","wide128",sub("            phase ^= 1;\n","")),
    ("a byte too many expected","wide128",sub("mbarrier_arrive_expect(barrier, STAGE_BYTES)","mbarrier_arrive_expect(barrier, STAGE_BYTES + 1)")),
    ("bytes of scales not expected","wide128",sub("mbarrier_arrive_expect(barrier, STAGE_BYTES)","mbarrier_arrive_expect(barrier, LEFT_BYTES + RIGHT_BYTES)")),
    ("descriptor: wrong swizzle","wide128",sub("1u << 30","2u << 30")),
    ("descriptor: wrong stride","wide128",sub("(1024u >> 4)","(512u >> 4)")),
    ("descriptor: wrong step along K","wide128",sub("left + 2 * k, right + 2 * k","left + 2 * k, right + 4 * k")),
    ("accumulator not reset","wide128",sub("k != 0);","1);")),
    ("scales of rows + 8 swapped","wide128",sub("* 4 + 32);","* 4);")),
    ("scales of the next block of K","wide128",sub("shuffle(now, block & 31)","shuffle(now, (block + 1) & 31)")),
    ("second chunk of scales not fetched","wide128",sub("fetch(block + 32);","")),
    ("columns of the second row of blocks","wide160",sub("(i >> 2) * 8 < FORMER","(i >> 2) * 8 <= FORMER")),
    ("tile begins in the wrong place of a block","wide192",sub("tile.channel & 127","0")),
    ("next group's rows overwritten","wide128",sub("tile.token + ROWS <= tile.tokenEnd || tile.tokenEnd == arguments.tokens","true")),
    ("peer not told of an empty stage","pair192",sub("if (place.lane < 2) {\n                mbarrier_arrive_peer(barrier, place.lane);","if (place.lane < 1) {\n                mbarrier_arrive_peer(barrier, 0); mbarrier_arrive_peer(barrier, 0);")),
    ("empty barriers count one block only","pair192",sub("8 * OCTET_CLUSTER","8")),
    ("barriers used before the peer has made them","pair192",sub("    if (OCTET_CLUSTER == 2) {\n        cluster_barrier();\n    } else {\n        block","    {\n        block")),
    ("block ends while its peer still sends","pair192",sub("    if (OCTET_CLUSTER == 2 || OCTET_SPLIT) {\n        cluster_barrier();\n    }\n}","}")),
    ("shared half at the wrong place","pair192",sub("rightAt + rank * (RIGHT_BYTES / 2)","rightAt")),
    ("stage given back one too early (overlap)","wide128o",sub("give_back(stage0);\n            promote<FORMER>(total[0], partial[0], s0, 0);\n            wait_full();","give_back(stage1);\n            promote<FORMER>(total[0], partial[0], s0, 0);\n            wait_full();")),
    ("no wait for the group before (overlap)","wide128o",sub("wgmma_wait<1>();","wgmma_wait<2>();",0)),
    ("parts read before they are written","split32",sub("        size = (int) cluster_size();\n        cluster_barrier();","        size = (int) cluster_size();\n        named_barrier(3, 256);")),
    ("block ends while its part is read","split32",sub("    if (OCTET_CLUSTER == 2 || OCTET_SPLIT) {\n        cluster_barrier();\n    }\n}","}")),
    ("a part added twice","split32",sub("peer_address(at, part)","peer_address(at, 0)")),
    ("staged tile overwritten while read","turned64",sub("    named_barrier(3, 256); // all have read the tile before\n","")),
    ("staged tile read before it is whole","turned64",sub("    } else {\n        named_barrier(3, 256);\n    }\n    constexpr","    }\n    constexpr")),
    ("K of a part begins in the wrong place","split32",sub("(long long) from * arguments.scaleStep","0LL * from")),
]


def check(folder, compiler, variant, change):
    changed = 0
    for name, text in FILES.items():
        changed += change.old in text
        with open(os.path.join(folder, name), "w") as f:
            f.write(change(text))
    if changed != 1:
        return True, "the source has changed, this break does not apply", ""
    with open(os.path.join(folder, "variants.inc"), "w") as f:
        f.write(VARIANTS[variant])
    program = os.path.join(folder, "program")
    built = subprocess.run([compiler, "-std=c++20", "-O2", "-w", "-I" + folder, "-I" + HERE,
                            '-DOCTET_VARIANTS="%s/variants.inc"' % folder, "-o", program,
                            os.path.join(HERE, "fp8_gemm_hopper_test.cpp"), "-pthread", "-ldl"],
                           capture_output=True, text=True)
    if built.returncode:
        return True, "does not compile", built.stderr[:300]
    ran = subprocess.run([program], env=dict(os.environ, OCTET_ONLY=variant), capture_output=True, text=True, timeout=300)
    lines = ran.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    total = len([line for line in lines if line.startswith(("ok", "FAILED"))])
    complaint = failed[0].split(": ", 1)[1][:100] if failed else "crashed" if ran.returncode < 0 else ""
    return not failed and ran.returncode >= 0, "%d of %d" % (len(failed), total), complaint


def main():
    compiler = sys.argv[1] if len(sys.argv) > 1 else "g++"
    missed = 0
    print("| what is broken | variant | products that fail | the first complaint |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, variant, change in MUTATIONS:
            if len(sys.argv) > 2 and sys.argv[2] not in name:
                continue
            unnoticed, count, complaint = check(folder, compiler, variant, change)
            missed += unnoticed
            print("| %s | %s | %s | %s |" % (name, variant, count, complaint), flush=True)
    print("%d breaks, %d not noticed" % (len(MUTATIONS), missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
