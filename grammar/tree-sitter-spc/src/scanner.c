// Tokens of `.sp` that need a look at what follows them, and a mark before every item that starts a line.
//
// The mark is for recovery: it has no width, comes wherever an item word stands in column 1, and changes the scanner's
// state, so that a parser that looks for a way out of an error cannot pass over it. An item that is broken therefore ends
// before the next one. The state is one bit, which every mark flips; nothing else is kept.
#include "tree_sitter/alloc.h"
#include "tree_sitter/parser.h"
#include <string.h>

// In the order of `externals` in grammar.js.
enum Token {
  LABEL_NAME,
  FIELD_NAME,
  MEMBER_NAME,
  NAME,
  DOT_NAME,
  INTEGER,
  FLOAT,
  PERCENTAGE,
  QUANTITY, // its number
  UNIT,
  JOINT,
  JOINT_WITH,
  ITEM_MARK,
  NEVER, // makes the parser ask this scanner everywhere
  RECOVERING, // never valid in the grammar, so set only while the parser looks for a way out of an error
};

// Longer words are cut: no word of interest is as long.
#define MAX_WORD 16

static bool digit(int32_t c) { return c >= '0' && c <= '9'; }
static bool letter(int32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool word_char(int32_t c) { return letter(c) || digit(c); }
static bool blank(int32_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool sticks(int32_t c) { return c == '(' || c == '.' || c == '[' || c == '@'; }

static void next(TSLexer *lexer) { lexer->advance(lexer, false); }

static bool one_of(const char *word, const char *const *list) {
  for (; *list; list++) {
    if (strcmp(word, *list) == 0) return true;
  }
  return false;
}

static const char *const UNITS[] = {"steps", "step", "epochs", "tokens", "bytes", "KiB", "MiB", "GiB", "ms", "us", NULL};
static const char *const ITEMS[] = {
    "edition", "use",     "const",  "axis",    "model",    "data",     "fn",    "group", "mask",   "score", "schedule", "pattern",
    "penalty", "update",  "require", "penalize", "quantize", "train",    "run",   "target", "plan",  "expect", NULL};
// Reserved words that start no expression.
static const char *const INNER[] = {"of", "per", "by", "on", "at", "via", "to", "over", "else", "for", "where", NULL};
// Clauses whose first word is not reserved.
static const char *const CLAUSES[] = {"then",     "min",        "except", "every", "always",
                                      "multiple", "on_overlap", "ragged", "pad",   NULL};

static void read_word(TSLexer *lexer, char word[MAX_WORD]) {
  unsigned n = 0;
  for (; word_char(lexer->lookahead); next(lexer)) {
    if (n + 1 < MAX_WORD) word[n++] = (char)lexer->lookahead;
  }
  word[n] = '\0';
}

// Passes over blanks and comments. False at a `/` that starts no comment.
static bool pass_blanks(TSLexer *lexer) {
  for (;;) {
    while (blank(lexer->lookahead)) next(lexer);
    if (lexer->lookahead != '/') return true;
    next(lexer);
    if (lexer->lookahead != '/') return false;
    while (!lexer->eof(lexer) && lexer->lookahead != '\n' && lexer->lookahead != '\r') next(lexer);
  }
}

static bool found(TSLexer *lexer, enum Token token) {
  lexer->result_symbol = token;
  return true;
}

static void read_digits(TSLexer *lexer) {
  while (digit(lexer->lookahead)) next(lexer);
}

// The end of the token is marked already; says whether one blank and a unit follow that belong to the number. They do
// not in `batch: 64 epochs: 3`, where the next field follows.
static bool unit_follows(TSLexer *lexer) {
  char word[MAX_WORD];
  if (lexer->lookahead != ' ') return false;
  next(lexer);
  if (!letter(lexer->lookahead)) return false;
  read_word(lexer, word);
  if (!one_of(word, UNITS)) return false;
  while (lexer->lookahead == ' ') next(lexer);
  if (lexer->lookahead == ':') return false;
  if (lexer->lookahead != '=') return true;
  next(lexer);
  return lexer->lookahead == '=';
}

// `1_000`, `1.5e-3`, `12.5%`, and the number of `60 MiB`. No word may follow without a blank, except after `%`.
static bool read_number(TSLexer *lexer, const bool *valid) {
  enum Token token = INTEGER;
  read_digits(lexer);
  while (lexer->lookahead == '_') {
    next(lexer);
    if (!digit(lexer->lookahead)) return false;
    read_digits(lexer);
  }
  lexer->mark_end(lexer);
  if (lexer->lookahead == '.') {
    next(lexer);
    // In `0..4` and `1.x` the dot is no part of the number.
    if (!digit(lexer->lookahead)) return valid[INTEGER] && found(lexer, INTEGER);
    token = FLOAT;
    read_digits(lexer);
    lexer->mark_end(lexer);
  }
  if (lexer->lookahead == '%') {
    next(lexer);
    lexer->mark_end(lexer);
    return valid[PERCENTAGE] && found(lexer, PERCENTAGE);
  }
  if (lexer->lookahead == 'e' || lexer->lookahead == 'E') {
    token = FLOAT;
    next(lexer);
    if (lexer->lookahead == '+' || lexer->lookahead == '-') next(lexer);
    if (!digit(lexer->lookahead)) return false;
    read_digits(lexer);
    lexer->mark_end(lexer);
  }
  if (word_char(lexer->lookahead)) return false;
  if (valid[QUANTITY] && !valid[RECOVERING] && unit_follows(lexer)) return found(lexer, QUANTITY);
  return valid[token] && found(lexer, token);
}

// After `joint`, whose end is marked: does an expression follow that is its score?
static bool score_follows(TSLexer *lexer) {
  if (!pass_blanks(lexer)) return false;
  int32_t c = lexer->lookahead;
  if (c == '"' || c == '(' || c == '[' || c == '!' || c == '-' || digit(c)) return true;
  if (!letter(c)) return false;
  char word[MAX_WORD];
  read_word(lexer, word);
  if (one_of(word, ITEMS) || one_of(word, INNER)) return false;
  return sticks(lexer->lookahead) || !one_of(word, CLAUSES);
}

// After an item word in column 1 and blanks, at a letter: is it the start of an item? Not `mask m = ..`, a hook that is not
// indented, nor `model` as a scope before another clause.
static bool starts_item(TSLexer *lexer, const char *word) {
  char name[MAX_WORD];
  read_word(lexer, name);
  if (strcmp(word, "model") == 0) return !one_of(name, INNER) && !one_of(name, CLAUSES);
  if (strcmp(word, "mask") != 0) return true;
  while (lexer->lookahead == ' ' || lexer->lookahead == '\t') next(lexer);
  return lexer->lookahead == '(';
}

// `first`: the word is the first thing in its line.
static bool read_name(TSLexer *lexer, const bool *valid, bool first, char *state) {
  char word[MAX_WORD];
  lexer->mark_end(lexer);
  read_word(lexer, word);
  if (first && one_of(word, ITEMS)) {
    // If it is a name after all, it is read with the blanks after it: an end once passed cannot be marked.
    bool blanks = false;
    while (lexer->lookahead == ' ' || lexer->lookahead == '\t') {
      blanks = true;
      next(lexer);
    }
    if (blanks && letter(lexer->lookahead)) {
      if (!starts_item(lexer, word)) return false;
      *state ^= 1;
      return found(lexer, ITEM_MARK);
    }
  }
  lexer->mark_end(lexer);
  // An item word inside a line starts no item.
  if (valid[RECOVERING]) return !first && one_of(word, ITEMS) && found(lexer, LABEL_NAME);
  if (valid[NAME]) return found(lexer, NAME);
  if (valid[UNIT] && one_of(word, UNITS)) return found(lexer, UNIT);
  if (valid[JOINT] && strcmp(word, "joint") == 0 && !sticks(lexer->lookahead)) {
    return found(lexer, score_follows(lexer) ? JOINT_WITH : JOINT);
  }
  if (!valid[LABEL_NAME] && !valid[FIELD_NAME] && !valid[MEMBER_NAME]) return false;
  if (!pass_blanks(lexer)) return false;
  int32_t c = lexer->lookahead;
  if (c == ':' && valid[LABEL_NAME]) return found(lexer, LABEL_NAME);
  if (c == ':' && valid[FIELD_NAME]) return found(lexer, FIELD_NAME);
  if (c == '=' && valid[FIELD_NAME]) {
    next(lexer);
    return lexer->lookahead != '=' && found(lexer, FIELD_NAME);
  }
  if (valid[MEMBER_NAME] && (c == '=' || c == ',' || (c == '{' && strcmp(word, "axes") != 0))) {
    return found(lexer, MEMBER_NAME);
  }
  return false;
}

void *tree_sitter_spc_external_scanner_create(void) { return ts_calloc(1, 1); }
void tree_sitter_spc_external_scanner_destroy(void *payload) { ts_free(payload); }
unsigned tree_sitter_spc_external_scanner_serialize(void *payload, char *buffer) {
  buffer[0] = *(char *)payload;
  return 1;
}
void tree_sitter_spc_external_scanner_deserialize(void *payload, const char *buffer, unsigned length) {
  *(char *)payload = length > 0 ? buffer[0] : 0;
}

bool tree_sitter_spc_external_scanner_scan(void *payload, TSLexer *lexer, const bool *valid) {
  if (valid[DOT_NAME] && !valid[RECOVERING] && letter(lexer->lookahead)) {
    while (word_char(lexer->lookahead)) next(lexer);
    return found(lexer, DOT_NAME);
  }
  bool first = false;
  while (blank(lexer->lookahead)) {
    first = lexer->lookahead == '\n' || lexer->lookahead == '\r';
    lexer->advance(lexer, true);
  }
  if (digit(lexer->lookahead)) return read_number(lexer, valid);
  return letter(lexer->lookahead) && read_name(lexer, valid, first, payload);
}
