//! Reads SQL expressions of the configuration.
//!
//! Names are never folded, and a word that is a column's name is that column even where SQL has another use for it
//! (`user`, `order`, `timestamp`); names with dots may stand as they are. Only the words that hold an expression
//! together ([`STRUCTURE`]) need quotes as column names.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, SchemaError};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::ExprWithAlias;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::planner::{said, state};

/// Words that keep their meaning inside an expression, whatever columns there are.
const STRUCTURE: [&str; 23] = [
    "and", "or", "not", "in", "is", "null", "true", "false", "like", "ilike", "similar", "to", "escape", "between",
    "case", "when", "then", "else", "end", "as", "distinct", "from", "array",
];

/// Why an expression of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadExpression {
    #[error("`{text}` cannot be read: {said}")]
    Syntax { text: String, said: String },
    #[error("in `{text}` there is `{column}`, which is no column; the columns are {columns}")]
    NoColumn { text: String, column: String, columns: String },
    #[error("`{text}` uses {what}, which an expression over single events cannot: {advice}")]
    NotOfARow { text: String, what: &'static str, advice: &'static str },
}

/// Reads one expression over the columns of `schema`.
pub(crate) fn parse(text: &str, schema: &DFSchema) -> Result<Expr, BadExpression> {
    if let Ok((table, field)) = schema.qualified_field_with_unqualified_name(text) {
        return Ok(Expr::Column(Column::from((table, field.as_ref()))));
    }
    let expr = parse_sql(text, schema).map_err(|source| explain(text, schema, source))?;
    check_of_a_row(text, &expr)?;
    Ok(expr)
}

fn parse_sql(text: &str, schema: &DFSchema) -> Result<Expr> {
    let dialect = GenericDialect {};
    let syntax = |error| DataFusionError::SQL(Box::new(error), None);
    let tokens = Tokenizer::new(&dialect, text).tokenize().map_err(|error| syntax(error.into()))?;
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut parser = Parser::new(&dialect).with_tokens(quote_columns(tokens, &columns));
    let expr = parser.parse_expr().map_err(syntax)?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return datafusion::common::plan_err!("it ends before `{rest}`");
    }
    state().create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias: None }, schema)
}

fn explain(text: &str, schema: &DFSchema, source: DataFusionError) -> BadExpression {
    let text = text.to_owned();
    if let DataFusionError::SchemaError(error, _) = source.find_root()
        && let SchemaError::FieldNotFound { field, .. } = error.as_ref()
    {
        let columns = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ");
        // An unquoted name with dots was taken for a column of a table.
        let column = match &field.relation {
            Some(table) => format!("{table}.{}", field.name),
            None => field.name.clone(),
        };
        return BadExpression::NoColumn { text, column, columns };
    }
    BadExpression::Syntax { text, said: said(&source) }
}

/// Puts quotes round the words that are columns.
fn quote_columns(tokens: Vec<Token>, columns: &[&str]) -> Vec<Token> {
    let tokens: Vec<Token> = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let mut quoted = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match column_at(&tokens, at, columns) {
            Some((name, length)) => {
                let word = Word { value: name, quote_style: Some('"'), keyword: Keyword::NoKeyword };
                quoted.push(Token::Word(word));
                at += length;
            }
            None => {
                quoted.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    quoted
}

/// The column that is named at a token, and how many tokens its name takes; the longest name wins.
fn column_at(tokens: &[Token], at: usize, columns: &[&str]) -> Option<(String, usize)> {
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    if before.is_some_and(|token| matches!(token, Token::Period) || begins_type(token)) {
        return None;
    }
    let mut name = bare_word(&tokens[at])?.to_owned();
    if STRUCTURE.iter().any(|word| name.eq_ignore_ascii_case(word)) {
        return None;
    }
    let mut length = 1;
    let mut found = None;
    loop {
        if columns.contains(&name.as_str()) && !is_no_column(before, tokens.get(at + length)) {
            found = Some((name.clone(), length));
        }
        match (tokens.get(at + length), tokens.get(at + length + 1).and_then(bare_word)) {
            (Some(Token::Period), Some(part)) => {
                name = format!("{name}.{part}");
                length += 2;
            }
            _ => return found,
        }
    }
}

fn bare_word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(Word { value, quote_style: None, .. }) => Some(value),
        _ => None,
    }
}

/// `cast(x as timestamp)`, `x::date`, `x at time zone 'UTC'`.
fn begins_type(token: &Token) -> bool {
    let introduces = |word: &str| ["as", "at", "with"].iter().any(|other| word.eq_ignore_ascii_case(other));
    matches!(token, Token::DoubleColon) || bare_word(token).is_some_and(introduces)
}

/// Where a word is a function, `date '2018-08-01'`, the unit of `interval '1' day`, or `extract(day from …)`.
fn is_no_column(before: Option<&Token>, after: Option<&Token>) -> bool {
    let is_text = |token: &Token| matches!(token, Token::SingleQuotedString(_));
    let is_from = |token: &Token| bare_word(token).is_some_and(|word| word.eq_ignore_ascii_case("from"));
    before.is_some_and(is_text)
        || after.is_some_and(|token| *token == Token::LParen || is_text(token) || is_from(token))
}

/// Refuses what needs more than one event.
fn check_of_a_row(text: &str, expr: &Expr) -> Result<(), BadExpression> {
    let mut refused = None;
    let walked = expr.apply(|expr| {
        refused = refused.or(match expr {
            Expr::AggregateFunction(_) => Some(("an aggregate", "aggregating is the engine's work")),
            Expr::WindowFunction(_) => Some(("a window function", "aggregating is the engine's work")),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some(("a subquery", "a feature reads the events of its source alone"))
            }
            Expr::Unnest(_) => Some(("unnest", "an `item` may be a list, and gives a row for each of its items")),
            Expr::Placeholder(_) | Expr::ScalarVariable(..) => Some(("a parameter", "write its value")),
            _ => None,
        });
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|source| BadExpression::Syntax { text: text.to_owned(), said: said(&source) })?;
    match refused {
        Some((what, advice)) => Err(BadExpression::NotOfARow { text: text.to_owned(), what, advice }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
