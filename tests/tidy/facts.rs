//! What one file says: the items that it declares, the paths that it names, where its tests are.

use std::ops::RangeInclusive;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItemFn, Item, ItemFn, ItemUse, TraitItemFn, UseTree, Visibility};

use crate::source::Source;

/// The segments of a path.
pub(crate) type Path = Vec<String>;

/// A path in the code, as it is written there.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub path: Path,
    pub line: usize,
}

/// One name that a `use` brings into its module; of a glob, the module whose names it brings.
#[derive(Debug)]
pub(crate) struct Import {
    pub name: String,
    pub path: Path,
    pub line: usize,
    pub is_glob: bool,
}

/// An item of a module.
#[derive(Debug)]
pub(crate) struct Declared {
    pub name: String,
    /// Whether it is a struct, an enum, a union or a trait.
    pub is_noun: bool,
}

/// A module as far as one file holds it: the file's own, or one written out inside the file.
#[derive(Debug)]
pub(crate) struct Scope {
    pub module: Path,
    lines: RangeInclusive<usize>,
    pub declared: Vec<Declared>,
    /// Modules below it, in files of their own or written out.
    pub children: Vec<String>,
    pub imports: Vec<Import>,
    pub paths: Vec<Named>,
}

impl Scope {
    fn new(module: Path, lines: RangeInclusive<usize>) -> Self {
        let (declared, children, imports, paths) = Default::default();
        Self { module, lines, declared, children, imports, paths }
    }
}

/// An identifier outside of tests, and whether `!` follows it.
pub(crate) struct Word {
    pub text: String,
    pub line: usize,
    pub is_macro: bool,
}

/// A literal outside of tests and of asserts, as it is written.
pub(crate) struct Literal {
    pub text: String,
    pub line: usize,
}

/// A function from its first line to its last, tests included.
pub(crate) struct Function {
    pub first: usize,
    pub last: usize,
}

pub(crate) struct Facts {
    pub path: String,
    pub text: String,
    /// The file's own module first.
    pub scopes: Vec<Scope>,
    pub words: Vec<Word>,
    pub literals: Vec<Literal>,
    pub functions: Vec<Function>,
    /// Modules that are compiled for tests only and lie in files of their own.
    pub test_modules: Vec<Path>,
    /// Lines of code: neither empty, nor a comment, nor of a test.
    pub code_lines: usize,
}

impl Facts {
    pub(crate) fn read(source: Source) -> Self {
        let Source { path, text } = source;
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let lines = text.lines().count().max(1);
        let mut reading = Reading {
            scopes: vec![Scope::new(module_of(&path), 1..=lines)],
            at: 0,
            is_test: false,
            tests: Vec::new(),
            uses: Vec::new(),
            functions: Vec::new(),
            test_modules: Vec::new(),
        };
        reading.visit_file(&file);
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut walk = Words { reading: &mut reading, found: Vec::new(), literals: Vec::new() };
        walk.walk(tokens, false);
        let Words { found: words, literals, .. } = walk;
        let Reading { scopes, tests, functions, test_modules, .. } = reading;
        let code_lines = text
            .lines()
            .enumerate()
            .filter(|(index, line)| {
                let line = line.trim_start();
                let is_tested = tests.iter().any(|lines| lines.contains(&(index + 1)));
                !line.is_empty() && !line.starts_with("//") && !is_tested
            })
            .count();
        Self { path, text, scopes, words, literals, functions, test_modules, code_lines }
    }

    /// The first segment of the file's module: the room it belongs to. Of `lib.rs`, that name.
    pub(crate) fn room(&self) -> &str {
        self.module().first().map_or("lib", String::as_str)
    }

    pub(crate) fn module(&self) -> &[String] {
        &self.scopes[0].module
    }
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are the module `a::b`.
fn module_of(path: &str) -> Path {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap();
    let mut module: Path = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || inner == "lib") {
        module.pop();
    }
    module
}

struct Reading {
    scopes: Vec<Scope>,
    /// The scope that is being read.
    at: usize,
    is_test: bool,
    tests: Vec<RangeInclusive<usize>>,
    uses: Vec<RangeInclusive<usize>>,
    functions: Vec<Function>,
    test_modules: Vec<Path>,
}

impl Reading {
    fn scope(&mut self) -> &mut Scope {
        &mut self.scopes[self.at]
    }

    /// Runs `read` on something that has these attributes, with its lines taken as those of a test
    /// where the attributes say so.
    fn within(
        &mut self,
        attributes: &[Attribute],
        lines: RangeInclusive<usize>,
        read: impl FnOnce(&mut Self),
    ) {
        let was_test = self.is_test;
        if attributes.iter().any(is_for_tests) {
            self.is_test = true;
            self.tests.push(lines);
        }
        read(self);
        self.is_test = was_test;
    }

    fn function(&mut self, first: usize, last: usize) {
        self.functions.push(Function { first, last });
    }

    fn declare(&mut self, name: &Ident, is_noun: bool) {
        if !self.is_test {
            self.scope().declared.push(Declared { name: name.to_string(), is_noun });
        }
    }

    /// Declares what a macro is given to make, as that of `bitflags` and of `thread_local` is.
    fn declare_made(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for pair in tokens.windows(2) {
            let [TokenTree::Ident(keyword), TokenTree::Ident(name)] = pair else { continue };
            match keyword.to_string().as_str() {
                "struct" | "enum" | "union" | "trait" => self.declare(name, true),
                "static" | "const" | "fn" | "type" => self.declare(name, false),
                _ => {}
            }
        }
    }

    fn import(&mut self, tree: &UseTree, prefix: &mut Path) {
        match tree {
            UseTree::Path(part) => {
                prefix.push(part.ident.to_string());
                self.import(&part.tree, prefix);
                prefix.pop();
            }
            UseTree::Group(group) => {
                for item in &group.items {
                    self.import(item, prefix);
                }
            }
            UseTree::Name(leaf) => self.leaf(&leaf.ident, None, prefix),
            UseTree::Rename(leaf) => self.leaf(&leaf.ident, Some(&leaf.rename), prefix),
            UseTree::Glob(glob) => {
                let line = glob.span().start().line;
                let import =
                    Import { name: String::new(), path: prefix.clone(), line, is_glob: true };
                self.scope().imports.push(import);
            }
        }
    }

    fn leaf(&mut self, name: &Ident, rename: Option<&Ident>, prefix: &[String]) {
        let mut path = prefix.to_vec();
        if name != "self" {
            path.push(name.to_string());
        }
        let Some(last) = path.last() else { return };
        let name_here = rename.map_or_else(|| last.clone(), Ident::to_string);
        let line = name.span().start().line;
        self.scope().imports.push(Import { name: name_here, path, line, is_glob: false });
    }

    fn module(&mut self, item: &syn::ItemMod) {
        let name = item.ident.to_string();
        let module = [&self.scope().module[..], std::slice::from_ref(&name)].concat();
        let Some((_, items)) = &item.content else {
            if self.is_test {
                self.test_modules.push(module);
            } else {
                self.scope().children.push(name);
            }
            return;
        };
        if self.is_test {
            items.iter().for_each(|item| self.visit_item(item));
            return;
        }
        self.scope().children.push(name);
        self.scopes.push(Scope::new(module, lines_of(item)));
        let outer = std::mem::replace(&mut self.at, self.scopes.len() - 1);
        items.iter().for_each(|item| self.visit_item(item));
        self.at = outer;
    }
}

impl Visit<'_> for Reading {
    fn visit_item(&mut self, item: &Item) {
        self.within(attributes_of(item), lines_of(item), |reading| {
            match item {
                Item::Mod(module) => return reading.module(module),
                Item::Struct(item) => reading.declare(&item.ident, true),
                Item::Enum(item) => reading.declare(&item.ident, true),
                Item::Union(item) => reading.declare(&item.ident, true),
                Item::Trait(item) => reading.declare(&item.ident, true),
                Item::TraitAlias(item) => reading.declare(&item.ident, true),
                Item::Type(item) => reading.declare(&item.ident, false),
                Item::Const(item) => reading.declare(&item.ident, false),
                Item::Static(item) => reading.declare(&item.ident, false),
                Item::Fn(item) => reading.declare(&item.sig.ident, false),
                Item::Macro(item) => {
                    if let Some(name) = &item.ident {
                        reading.declare(name, false);
                    } else {
                        reading.declare_made(item.mac.tokens.clone());
                    }
                }
                _ => {}
            }
            visit::visit_item(reading, item);
        });
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.uses.push(lines_of(item));
        if !self.is_test {
            self.import(&item.tree, &mut Path::new());
        }
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        let last = item.block.span().end().line;
        self.function(first_line(&item.vis, item.sig.fn_token.span), last);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &ImplItemFn) {
        self.within(&item.attrs, lines_of(item), |reading| {
            let last = item.block.span().end().line;
            reading.function(first_line(&item.vis, item.sig.fn_token.span), last);
            visit::visit_impl_item_fn(reading, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(item.sig.fn_token.span.start().line, block.span().end().line);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn first_line(visibility: &Visibility, keyword: proc_macro2::Span) -> usize {
    match visibility {
        Visibility::Inherited => keyword.start().line,
        visible => visible.span().start().line,
    }
}

fn lines_of(item: &impl Spanned) -> RangeInclusive<usize> {
    let span = item.span();
    span.start().line..=span.end().line
}

/// `#[test]`, `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    let Ok(list) = attribute.meta.require_list() else { return false };
    let condition = list.tokens.to_string();
    attribute.path().is_ident("cfg")
        && (condition == "test" || condition.starts_with("all") && has_word(&list.tokens, "test"))
}

fn has_word(tokens: &TokenStream, word: &str) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => has_word(&group.stream(), word),
        _ => false,
    })
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Walks all tokens, those inside of macros too, and files what is outside of tests.
struct Words<'a> {
    reading: &'a mut Reading,
    found: Vec<Word>,
    literals: Vec<Literal>,
}

impl Words<'_> {
    fn walk(&mut self, tokens: TokenStream, is_asserted: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => {
                    // Within `pub(…)` stand only modules above.
                    if !(at > 0 && is_ident(&tokens[at - 1], "pub")) {
                        let asserts = at > 1
                            && matches!(&tokens[at - 2], TokenTree::Ident(name) if name.to_string().contains("assert"));
                        self.walk(group.stream(), is_asserted || asserts);
                    }
                    at += 1;
                }
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    if !is_asserted && !self.is_tested(line) {
                        self.literals.push(Literal { text: literal.to_string(), line });
                    }
                    at += 1;
                }
                TokenTree::Ident(_) => at = self.path(&tokens, at),
                _ => at += 1,
            }
        }
    }

    /// Files the path that begins at `at`; where it ends.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        let line = tokens[at].span().start().line;
        // A method or a field, and not the end of a range.
        let is_part =
            at > 0 && is_punct(&tokens[at - 1], '.') && !(at > 1 && is_punct(&tokens[at - 2], '.'));
        let mut path = Path::new();
        while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
            let is_macro = tokens.get(at + 1).is_some_and(|next| is_punct(next, '!'))
                && !tokens.get(at + 2).is_some_and(|next| is_punct(next, '='));
            self.word(ident, is_macro);
            path.push(ident.to_string());
            at += 1;
            let colons = tokens.get(at..at + 2);
            if !colons.is_some_and(|pair| pair.iter().all(|token| is_punct(token, ':'))) {
                break;
            }
            at += 2;
        }
        let is_use = self.reading.uses.iter().any(|lines| lines.contains(&line));
        if !is_part && !is_use && !self.is_tested(line) {
            let scope = self.reading.scopes.iter_mut().rfind(|scope| scope.lines.contains(&line));
            scope.unwrap().paths.push(Named { path, line });
        }
        at
    }

    fn word(&mut self, ident: &Ident, is_macro: bool) {
        let line = ident.span().start().line;
        if !self.is_tested(line) {
            self.found.push(Word { text: ident.to_string(), line, is_macro });
        }
    }

    fn is_tested(&self, line: usize) -> bool {
        self.reading.tests.iter().any(|lines| lines.contains(&line))
    }
}

fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}
