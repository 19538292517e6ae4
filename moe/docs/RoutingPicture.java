import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Path2D;
import java.awt.geom.RoundRectangle2D;
import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.imageio.ImageIO;

/**
 * Draws routing.png: one token of DeepSeek-V3 on its way to its experts. From the repository's folder:
 *
 * <pre>
 * java -Djava.awt.headless=true moe/docs/RoutingPicture.java moe/docs/routing.png
 * </pre>
 */
final class RoutingPicture {
    private static final int NODES = 8;
    private static final int GPUS = 8;
    private static final int KEPT = 4;
    private static final int HOME = 0;
    private static final int HOME_GPU = 0;
    /** GPUs with the token's eight experts, by node: four nodes, its own among them. */
    private static final Map<Integer, List<Integer>> CHOSEN = new TreeMap<>(
            Map.of(0, List.of(5), 2, List.of(0, 1, 2), 3, List.of(3), 6, List.of(1, 2, 5)));
    /** What a group is worth: the sum of its two best choices. Made up, in keeping with the nodes above. */
    private static final double[] WORTH = {1.61, 1.22, 1.83, 1.55, 0.98, 1.31, 1.74, 1.08};

    private static final int WIDTH = 1160;
    private static final int HEIGHT = 640;
    private static final int LEFT = 60;
    private static final int STEP = 134;
    private static final int NODE_WIDTH = 118;
    private static final int BARS = 250;
    private static final int TOP = 380;
    private static final Color INK = new Color(0x22303c);
    private static final Color PALE = new Color(0xeef1f4);
    private static final Color LINE = new Color(0xb6c0c9);
    private static final Color KEEP = new Color(0xd8e8f8);
    private static final Color ACROSS = new Color(0xd1495b);
    private static final Color INSIDE = new Color(0x2e7d5b);
    private static final Color EXPERT = new Color(0xf0b429);

    private final Graphics2D g;

    private RoutingPicture(Graphics2D g) {
        this.g = g;
    }

    public static void main(String[] args) throws IOException {
        int scale = 2;
        BufferedImage image = new BufferedImage(WIDTH * scale, HEIGHT * scale, BufferedImage.TYPE_INT_RGB);
        Graphics2D g = image.createGraphics();
        g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        g.setRenderingHint(RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
        g.setRenderingHint(RenderingHints.KEY_FRACTIONALMETRICS, RenderingHints.VALUE_FRACTIONALMETRICS_ON);
        g.scale(scale, scale);
        g.setColor(Color.WHITE);
        g.fillRect(0, 0, WIDTH, HEIGHT);
        new RoutingPicture(g).draw();
        ImageIO.write(image, "png", new File(args[0]));
    }

    private void draw() {
        text("One token, 256 experts on 8 nodes: 8 are chosen, on 4 nodes at most", LEFT, 36, 20, true, INK);
        text("1   A node is worth the sum of its two best choices (score + bias); the best four are kept", LEFT, 76, 14,
                true, INK);
        bars();
        text("2   The best 8 experts of the kept nodes; 3   one copy crosses to each node, to the GPU with the same "
                + "number, and spreads inside", LEFT, BARS + 50, 14, true, INK);
        for (int n = 0; n < NODES; n++) {
            node(n);
        }
        for (int n : CHOSEN.keySet()) {
            if (n != HOME) {
                across(n);
            }
        }
        CHOSEN.forEach(this::inside);
        for (int n = 0; n < NODES; n++) {
            gpus(n);
        }
        legend();
    }

    private void bars() {
        for (int n = 0; n < NODES; n++) {
            boolean kept = CHOSEN.containsKey(n);
            int height = (int) Math.round(70 * WORTH[n]);
            int x = left(n) + 34;
            g.setColor(kept ? new Color(0x3b7dc4) : LINE);
            g.fillRect(x, BARS - height, 50, height);
            centred(String.format(java.util.Locale.ROOT, "%.2f", WORTH[n]), x + 25, BARS - height - 6, 12,
                    kept ? INK : Color.GRAY);
            centred(kept ? "kept" : "-inf", x + 25, BARS + 16, 12, kept ? INK : Color.GRAY);
        }
        g.setColor(LINE);
        g.drawLine(LEFT, BARS, LEFT + (NODES - 1) * STEP + NODE_WIDTH, BARS);
    }

    private void node(int n) {
        boolean kept = CHOSEN.containsKey(n);
        g.setColor(kept ? KEEP : PALE);
        g.fill(new RoundRectangle2D.Double(left(n), TOP, NODE_WIDTH, 150, 12, 12));
        g.setColor(LINE);
        g.draw(new RoundRectangle2D.Double(left(n), TOP, NODE_WIDTH, 150, 12, 12));
        centred("node " + n, left(n) + NODE_WIDTH / 2, TOP + 168, 13, kept ? INK : Color.GRAY);
    }

    private void gpus(int n) {
        for (int i = 0; i < GPUS; i++) {
            int x = gpuX(n, i);
            int y = gpuY(i);
            boolean chosen = CHOSEN.containsKey(n) && CHOSEN.get(n).contains(i);
            boolean token = n == HOME && i == HOME_GPU;
            g.setColor(chosen ? EXPERT : Color.WHITE);
            g.fillRect(x - 10, y - 10, 20, 20);
            g.setColor(token ? ACROSS : LINE);
            g.setStroke(new BasicStroke(token ? 3f : 1f));
            g.drawRect(x - 10, y - 10, 20, 20);
            g.setStroke(new BasicStroke(1f));
            centred(String.valueOf(i), x, y + 4, 11, token ? ACROSS : INK);
        }
    }

    private void across(int n) {
        int x0 = gpuX(HOME, HOME_GPU);
        int x1 = gpuX(n, HOME_GPU);
        int y = gpuY(HOME_GPU) - 11;
        double peak = TOP - 14 - 9.0 * n;
        Path2D path = new Path2D.Double();
        path.moveTo(x0, y);
        path.curveTo(x0 + 20, peak, x1 - 20, peak, x1, y);
        g.setColor(ACROSS);
        g.setStroke(new BasicStroke(2.4f));
        g.draw(path);
        arrow(x1, y, Math.atan2(y - peak, 20));
    }

    private void inside(int n, List<Integer> chosen) {
        g.setColor(INSIDE);
        for (int i : chosen) {
            if (i != HOME_GPU) {
                double x0 = gpuX(n, HOME_GPU);
                double y0 = gpuY(HOME_GPU);
                double dx = gpuX(n, i) - x0;
                double dy = gpuY(i) - y0;
                double length = Math.hypot(dx, dy);
                double x1 = gpuX(n, i) - 13 * dx / length;
                double y1 = gpuY(i) - 13 * dy / length;
                g.setColor(INSIDE);
                g.setStroke(new BasicStroke(2.4f));
                g.draw(new java.awt.geom.Line2D.Double(x0 + 10 * dx / length, y0 + 10 * dy / length, x1, y1));
                arrow(x1, y1, Math.atan2(dy, dx));
            }
        }
    }

    private void arrow(double x, double y, double angle) {
        Path2D head = new Path2D.Double();
        head.moveTo(x, y);
        head.lineTo(x - 9 * Math.cos(angle - 0.45), y - 9 * Math.sin(angle - 0.45));
        head.lineTo(x - 9 * Math.cos(angle + 0.45), y - 9 * Math.sin(angle + 0.45));
        head.closePath();
        g.fill(head);
        g.setStroke(new BasicStroke(1f));
    }

    private void legend() {
        int y = HEIGHT - 50;
        g.setColor(Color.WHITE);
        g.setStroke(new BasicStroke(3f));
        g.setColor(ACROSS);
        g.drawRect(LEFT, y - 12, 16, 16);
        g.setStroke(new BasicStroke(1f));
        text("the token's GPU", LEFT + 26, y + 1, 13, false, INK);
        g.setColor(EXPERT);
        g.fillRect(LEFT + 170, y - 12, 16, 16);
        text("a GPU with one of its 8 experts (each GPU has 4)", LEFT + 196, y + 1, 13, false, INK);
        g.setColor(ACROSS);
        g.fillRect(LEFT + 540, y - 6, 26, 3);
        long crossing = CHOSEN.keySet().stream().filter(n -> n != HOME).count();
        text("between nodes, InfiniBand: " + crossing + " copies", LEFT + 576, y + 1, 13, false, INK);
        g.setColor(INSIDE);
        g.fillRect(LEFT + 830, y - 6, 26, 3);
        long spread = CHOSEN.values().stream().flatMap(List::stream).filter(i -> i != HOME_GPU).count();
        text("inside, NVLink: " + spread + " copies", LEFT + 866, y + 1, 13, false, INK);
        long apart = CHOSEN.entrySet().stream().filter(e -> e.getKey() != HOME).mapToLong(e -> e.getValue().size())
                .sum();
        text("Each expert by itself would take " + apart + " crossings. What the experts give goes back the same ways, "
                + "each node's sum as one copy.", LEFT, y + 28, 13, false, INK);
    }

    private static int left(int node) {
        return LEFT + node * STEP;
    }

    private static int gpuX(int node, int gpu) {
        return left(node) + 36 + gpu % 2 * 46;
    }

    private static int gpuY(int gpu) {
        return TOP + 23 + gpu / 2 * 35;
    }

    private void centred(String s, int x, int y, int size, Color color) {
        g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, size));
        text(s, x - g.getFontMetrics().stringWidth(s) / 2, y, size, false, color);
    }

    private void text(String s, int x, int y, int size, boolean bold, Color color) {
        g.setFont(new Font(Font.SANS_SERIF, bold ? Font.BOLD : Font.PLAIN, size));
        g.setColor(color);
        g.drawString(s, x, y);
    }
}
