# Bars in SVG, from the summary of the samples: the median, with a line from the least to the greatest. Sourced by inside.sh.

# draw_bars TITLE QUANTITY ROWS, a row a line; ours stands out. No style of the page's is needed, so it shows wherever Markdown does.
draw_bars() {
  local row
  while read -r row; do printf '%s\t%s\t%s\t%s\n' "$row" "$(value_of "$row" "$2" 4)" "$(value_of "$row" "$2")" "$(value_of "$row" "$2" 6)"; done <<< "$3" |
    awk -F '\t' -v title="$1" '
      { row[NR] = $1; least[NR] = $2; median[NR] = $3; most[NR] = $4; if ($4 > top) top = $4 }
      END {
        left = 160; wide = 470; step = 34; head = 46
        height = head + NR * step + 8
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 %d\" width=\"720\" height=\"%d\"", height, height
        print " font-family=\"system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif\">"
        printf "<rect width=\"720\" height=\"%d\" rx=\"6\" fill=\"#ffffff\"/>\n", height
        printf "<text x=\"16\" y=\"28\" font-size=\"15\" font-weight=\"600\" fill=\"#1f2328\">%s</text>\n", title
        for (i = 1; i <= NR; i++) {
          y = head + (i - 1) * step
          width = top > 0 ? wide * median[i] / top : 0
          low = left + (top > 0 ? wide * least[i] / top : 0)
          high = left + (top > 0 ? wide * most[i] / top : 0)
          printf "<text x=\"%d\" y=\"%d\" font-size=\"13\" text-anchor=\"end\" fill=\"#1f2328\">%s</text>\n", left - 10, y + 16, row[i]
          printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"22\" rx=\"2\" fill=\"%s\"/>\n", left, y, width, row[i] ~ /^dnsproxy/ ? "#1f6feb" : "#b6bec9"
          printf "<path d=\"M%.1f %dH%.1fM%.1f %dv8M%.1f %dv8\" stroke=\"#1f2328\" stroke-width=\"1.2\" fill=\"none\"/>\n", low, y + 11, high, low, y + 7, high, y + 7
          printf "<text x=\"%.1f\" y=\"%d\" font-size=\"13\" fill=\"#1f2328\">%.1f</text>\n", (high > left + width ? high : left + width) + 8, y + 16, median[i]
        }
        print "</svg>"
      }'
}
