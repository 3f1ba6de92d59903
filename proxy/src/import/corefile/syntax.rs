//! The form of a Corefile: server blocks with their zones, directives with words, and words in braces.

use std::collections::{BTreeMap, BTreeSet};

/// One server block.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Block {
    /// `ZONE[:PORT]`, as written.
    pub(super) keys: Vec<String>,
    pub(super) line: usize,
    pub(super) directives: Vec<Directive>,
}

/// One directive of a block.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Directive {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    /// The lines in its braces.
    pub(super) lines: Vec<Line>,
}

/// The words of one line in braces.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) words: Vec<String>,
}

impl Block {
    /// All that it says, but for its zones and lines: the ports and what stands in its braces.
    pub(super) fn content(&self) -> Vec<String> {
        let ports: BTreeSet<_> = self.keys.iter().map(|key| port(key)).collect();
        let mut content: Vec<_> = ports.into_iter().map(str::to_owned).collect();
        for Directive { line: _, name, args, lines } in &self.directives {
            content.extend(["\n".to_owned(), name.clone()].into_iter().chain(args.clone()));
            for Line { number: _, words } in lines {
                content.extend(std::iter::once("\n\t".to_owned()).chain(words.clone()));
            }
        }
        content
    }

    /// Its first directive with a name.
    pub(super) fn has(&self, name: &str) -> Option<&Directive> {
        self.directives.iter().find(|it| it.name == name)
    }
}

/// The scheme and the port of a zone; none where it is the usual one.
fn port(key: &str) -> &str {
    match key.rsplit_once(':') {
        Some((_, "53")) | None => "",
        Some((before, port)) if port.parse::<u16>().is_ok() && !before.contains("://") => port,
        Some(_) => key,
    }
}

impl Directive {
    /// How many words it has.
    fn words(&self) -> usize {
        1 + self.args.len() + self.lines.iter().map(|line| 1 + line.words.len()).sum::<usize>()
    }

    /// As a person would find it.
    pub(super) fn text(&self) -> String {
        let words = std::iter::once(&self.name).chain(&self.args);
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The words behind its name, on its line and in its braces.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        let inner = self.lines.iter().flat_map(|line| &line.words);
        self.args.iter().chain(inner).map(String::as_str)
    }
}

/// What stands in a Corefile.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Corefile {
    pub(super) blocks: Vec<Block>,
    /// Between blocks: what they name may be blocks of other files.
    pub(super) imports: Vec<Line>,
}

/// Reads a text; where it cannot be read, the line and the reason.
pub(super) fn read(text: &str) -> Result<Corefile, (usize, String)> {
    let lines: Vec<_> = (1..)
        .zip(text.trim_start_matches('\u{feff}').lines())
        .map(|(number, line)| Line { number, words: words(line) })
        .collect();
    let lines = lines.into_iter().filter(|line| !line.words.is_empty()).flat_map(Line::split);
    let lines = lines.collect::<Vec<_>>();
    let mut parser =
        Parser { lines: lines.into_iter().peekable(), snippets: BTreeMap::new(), imported: 0 };
    parser.corefile()
}

impl Line {
    /// Braces may open and close behind other words: what stands in them is a line of its own.
    fn split(self) -> Vec<Self> {
        let Self { number, words } = self;
        let mut lines = vec![Self { number, words: Vec::new() }];
        let is_open = |words: &[String]| words.iter().any(|word| word == "{");
        for (at, word) in words.iter().enumerate() {
            let is_end = word == "}" && (at + 1 == words.len() || is_open(&words));
            let is_behind =
                at > 0 && words.get(at - 1).is_some_and(|before| before == "{" || before == "}");
            if is_end || is_behind {
                lines.push(Self { number, words: Vec::new() });
            }
            if let Some(line) = lines.last_mut() {
                line.words.push(word.clone());
            }
        }
        lines.into_iter().filter(|line| !line.words.is_empty()).collect()
    }
}

/// Words between spaces; quotes keep them together, `#` begins a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if word.is_none() => {
                let mut quoted = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' if chars.peek() == Some(&'"') => quoted.extend(chars.next()),
                        c => quoted.push(c),
                    }
                }
                words.push(quoted);
            }
            '#' if word.is_none() => break,
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words.into_iter().map(|word| with_environment(&word)).collect()
}

/// `{$NAME}` and `{%NAME%}` are the environment's.
fn with_environment(word: &str) -> String {
    filled(&filled(word, ("{%", "%}")), ("{$", "}"))
}

fn filled(word: &str, (open, close): (&str, &str)) -> String {
    let (mut text, mut rest) = (String::new(), word);
    while let Some((before, behind)) = rest.split_once(open)
        && let Some((name, behind)) = behind.split_once(close)
    {
        text.push_str(before);
        text.push_str(&std::env::var(name).unwrap_or_default());
        rest = behind;
    }
    text + rest
}

type Lines = std::iter::Peekable<std::vec::IntoIter<Line>>;

struct Parser {
    lines: Lines,
    snippets: BTreeMap<String, Vec<Directive>>,
    /// How many words were copied out of snippets.
    imported: usize,
}

/// Words that imports may copy: snippets may import snippets, which doubles them each time. Our guess, a list of ten thousand
/// networks in a hundred blocks.
const IMPORTED: usize = 1_000_000;

type Parsed<T> = Result<T, (usize, String)>;

impl Parser {
    fn corefile(&mut self) -> Parsed<Corefile> {
        let Corefile { mut blocks, mut imports } = Corefile::default();
        while let Some(line) = self.lines.next() {
            let number = line.number;
            let last = line.words.last().map(String::as_str);
            match line.words.first().map(String::as_str) {
                Some("}") => return Err((number, "a `}` too many".into())),
                Some("import") if last != Some("{") => {
                    imports.push(line);
                    continue;
                }
                _ => {}
            }
            let mut keys = line.words;
            let mut is_open = false;
            loop {
                if keys.last().is_some_and(|word| word == "{") {
                    keys.pop();
                    is_open = true;
                    break;
                }
                // Zones may go on in the next line, behind a comma.
                let goes_on = keys.last().is_some_and(|word| word.ends_with(','));
                let next = self
                    .lines
                    .next_if(|next| goes_on || next.words.first().is_some_and(|word| word == "{"));
                match next {
                    Some(next) => keys.extend(next.words),
                    None => break,
                }
            }
            let keys: Vec<_> = keys
                .iter()
                .flat_map(|key| key.split(','))
                .filter(|key| !key.is_empty())
                .map(str::to_owned)
                .collect();
            let directives = self.directives(number, is_open)?;
            match keys.first().and_then(|key| key.strip_prefix('(')?.strip_suffix(')')) {
                Some(snippet) => {
                    self.snippets.insert(snippet.to_owned(), directives);
                }
                None => blocks.push(Block { keys, line: number, directives }),
            }
        }
        Ok(Corefile { blocks, imports })
    }

    /// The directives up to the closing brace, or to the end when there is no brace.
    fn directives(&mut self, start: usize, is_open: bool) -> Parsed<Vec<Directive>> {
        let mut directives = Vec::new();
        while let Some(line) = self.lines.next() {
            let mut words = line.words.into_iter();
            let Some(name) = words.next() else { continue };
            if name == "}" {
                return if is_open {
                    Ok(directives)
                } else {
                    Err((line.number, "a `}` too many".into()))
                };
            }
            let mut args: Vec<String> = words.collect();
            let opens = args.last().is_some_and(|word| word == "{");
            if opens {
                args.pop();
            }
            let lines = if opens { self.inner(line.number)? } else { Vec::new() };
            if name == "import" {
                directives.extend(self.imported(line.number, &args)?);
            } else {
                directives.push(Directive { line: line.number, name, args, lines });
            }
        }
        if is_open { Err((start, "its `}` is missing".into())) } else { Ok(directives) }
    }

    fn imported(&mut self, line: usize, args: &[String]) -> Parsed<Vec<Directive>> {
        let name = args.first().map(String::as_str).unwrap_or_default();
        let Some(snippet) = self.snippets.get(name) else {
            let (name, args) = ("import".to_owned(), args.to_vec());
            return Ok(vec![Directive { line, name, args, lines: Vec::new() }]);
        };
        self.imported += snippet.iter().map(Directive::words).sum::<usize>();
        if self.imported > IMPORTED {
            let reason = format!(
                "`import {name}` makes it too long: imports may copy {IMPORTED} words in all"
            );
            return Err((line, reason));
        }
        Ok(snippet.clone())
    }

    /// The lines in the braces of a directive.
    fn inner(&mut self, start: usize) -> Parsed<Vec<Line>> {
        let mut lines = Vec::new();
        let mut depth = 1;
        for line in self.lines.by_ref() {
            let last = line.words.last().map(String::as_str);
            if line.words.first().is_some_and(|word| word == "}") {
                depth -= 1;
            } else if last == Some("{") {
                depth += 1;
            }
            if depth == 0 {
                return Ok(lines);
            }
            lines.push(line);
        }
        Err((start, "its `}` is missing".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_directives_and_words_are_told_apart() {
        let text = "(common) {\n  errors\n}\n# a comment\n.:53, example.org:1053 {\n  import common\n  forward . 1.1.1.1 \"a b\" { # more\n    policy random\n  }\n}\n";

        let Corefile { blocks, imports } = read(text).unwrap();

        assert_eq!((blocks.len(), imports), (1, vec![]));
        assert_eq!(blocks[0].keys, [".:53", "example.org:1053"]);
        let names: Vec<_> = blocks[0].directives.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["errors", "forward"]);
        let forward = &blocks[0].directives[1];
        assert_eq!(
            (forward.line, &*forward.args),
            (7, &[".".into(), "1.1.1.1".into(), "a b".to_owned()][..])
        );
        assert_eq!(forward.lines[0].words, ["policy", "random"]);
    }

    #[test]
    fn braces_may_open_and_close_in_one_line() {
        let read = |text| read(text).unwrap().blocks;
        let blocks = read(".:53 { forward . 1.1.1.1 { policy sequential } }\n");
        let lines = read(".:53 {\n forward . 1.1.1.1 {\n policy sequential }\n}\n");

        assert_eq!(blocks[0].directives[0].text(), "forward . 1.1.1.1");
        assert_eq!(blocks[0].directives[0].lines[0].words, lines[0].directives[0].lines[0].words);
    }

    #[test]
    fn both_forms_of_the_environment_are_filled_in() {
        // Set by cargo for every test.
        let name = env!("CARGO_PKG_NAME");
        assert_eq!(
            words("a{$CARGO_PKG_NAME}b {%CARGO_PKG_NAME%}.c"),
            [format!("a{name}b"), format!("{name}.c")]
        );
        assert_eq!(words("{ {$ {%x"), ["{", "{$", "{%x"]);
        assert_eq!(words(&"{$CARGO_PKG_NAME}".repeat(100_000)), [name.repeat(100_000)]);
    }

    #[test]
    fn snippets_that_double_each_other_do_not_fill_the_memory() {
        let double = |i: usize| format!("(s{}) {{\n import s{i}\n import s{i}\n}}\n", i + 1);
        let text = |count: usize| {
            let doubles: String = (0..count).map(double).collect();
            format!("(s0) {{\n errors\n}}\n{doubles}. {{\n import s{count}\n}}\n")
        };

        assert_eq!(read(&text(10)).unwrap().blocks[0].directives.len(), 1024);
        let (line, reason) = read(&text(30)).unwrap_err();
        assert!(line > 4 && reason.contains("imports may copy 1000000 words"), "{line}: {reason}");
    }

    #[test]
    fn a_brace_too_few_or_too_many_is_told_with_its_line() {
        assert_eq!(read(". {\n errors\n"), Err((1, "its `}` is missing".into())));
        assert_eq!(
            read(". {\n forward . x {\n policy random\n}\n"),
            Err((1, "its `}` is missing".into()))
        );
        assert_eq!(read(". {\n}\n}\n"), Err((3, "a `}` too many".into())));
    }
}
