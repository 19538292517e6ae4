package dev.octet.cuda.driver;

import org.bytedeco.cuda.cudart.CUctx_st;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUfunc_st;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUlaunchConfig;
import org.bytedeco.cuda.cudart.CUmod_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.cudart.CUtensorMap;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * JavaCPP's pointer types with an address that can be set. They own nothing and are never freed by JavaCPP.
 */
final class PresetPointers {
    private PresetPointers() {}

    /** One of each for a thread, set to an address for the length of one call. */
    static final class Addresses {
        final Context context = new Context();
        final Stream stream = new Stream();
        final Event event = new Event();
        final Function function = new Function();
        final Config config = new Config();
        final Parameters parameters = new Parameters();
        final Executable executable = new Executable();
        final Host host = new Host();
    }

    static final class Context extends CUctx_st {
        Context at(long a) {
            address = a;
            return this;
        }
    }

    static final class Stream extends CUstream_st {
        Stream at(long a) {
            address = a;
            return this;
        }
    }

    static final class Event extends CUevent_st {
        Event at(long a) {
            address = a;
            return this;
        }
    }

    static final class Module extends CUmod_st {
        Module at(long a) {
            address = a;
            return this;
        }
    }

    static final class Function extends CUfunc_st {
        Function at(long a) {
            address = a;
            return this;
        }
    }

    static final class Graph extends CUgraph_st {
        Graph at(long a) {
            address = a;
            return this;
        }
    }

    static final class Executable extends CUgraphExec_st {
        Executable at(long a) {
            address = a;
            return this;
        }
    }

    static final class Config extends CUlaunchConfig {
        Config() {
            super((Pointer) null);
        }

        Config at(long a) {
            address = a;
            return this;
        }
    }

    static final class Map extends CUtensorMap {
        Map() {
            super((Pointer) null);
        }

        Map at(long a) {
            address = a;
            return this;
        }
    }

    /** The array of the addresses of a kernel's parameters. */
    static final class Parameters extends PointerPointer<Pointer> {
        Parameters() {
            super((Pointer) null);
        }

        Parameters at(long a) {
            address = a;
            return this;
        }
    }

    static final class Host extends Pointer {
        Host at(long a) {
            address = a;
            return this;
        }
    }
}
