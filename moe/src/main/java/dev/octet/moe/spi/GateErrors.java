package dev.octet.moe.spi;

/** What backends say of values that a gate does not take. */
public final class GateErrors {
    private GateErrors() {}

    /**
     * {@return the refusal of a logit that is NaN or positive infinity}
     *
     * @param token its token
     * @param expert its expert
     * @param value its value
     */
    public static IllegalArgumentException logit(long token, int expert, float value) {
        return new IllegalArgumentException("logits of token " + token + " have " + value + " for expert " + expert
                + ", they must be finite or -Infinity");
    }

    /**
     * {@return the refusal of a selection bias that is not finite}
     *
     * @param expert its expert
     * @param value its value
     */
    public static IllegalArgumentException bias(int expert, float value) {
        return new IllegalArgumentException("bias of expert " + expert + " is " + value + ", it must be finite");
    }

    /**
     * {@return the refusal of an expert that there is not}
     *
     * @param token the token that was to go there
     * @param place which of the token's experts
     * @param expert its number
     * @param experts how many there are
     */
    public static IllegalArgumentException expert(long token, int place, int expert, int experts) {
        return new IllegalArgumentException("experts of token " + token + " have " + expert + " in place " + place
                + ", it must be from 0 to " + (experts - 1) + ", or -1 for none");
    }
}
