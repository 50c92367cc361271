//! The protocol: one message after the other, diagnostics when there is a pause.
use crate::analysis::{Analysis, Shared};
use crate::document::Document;
use crate::{Host, actions, colours, complete, diagnostics, hover, navigate, outline, uri};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, RequestId, Response};
use lsp_types::notification::{
    Cancel, DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, DidSaveTextDocument, Exit,
    Notification as _, PublishDiagnostics,
};
use lsp_types::request::{self as rq, Request as _};
use lsp_types::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use spc_base::FileId;
use spc_sema::Stored;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// After a check that took longer than this, the next one waits for a pause as long, so that typing stays smooth.
const FAST: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);

type Headers = BTreeMap<PathBuf, Option<Result<Vec<Stored>, spc_base::Diagnostic>>>;

/// Files of the outside, asked for once.
pub struct Pages<'h> {
    host: &'h dyn Host,
    pages: RefCell<BTreeMap<String, Option<Uri>>>,
    headers: RefCell<Headers>,
    /// The editor shows links beside codes.
    links: bool,
}

impl Pages<'_> {
    fn page(&self, name: &str, text: &str) -> Option<Uri> {
        if let Some(known) = self.pages.borrow().get(name) {
            return known.clone();
        }
        let made = self.host.page(name, text).and_then(|p| uri::of_path(&p));
        self.pages.borrow_mut().insert(name.to_string(), made.clone());
        made
    }

    /// The address of a file of the library.
    pub fn library(&self, shared: &Shared, file: FileId) -> Option<Uri> {
        let (path, text) = shared.library_file(file)?;
        self.page(path, text)
    }

    /// The page about a code.
    pub fn code(&self, code: &str) -> Option<Uri> {
        let entry = spc_base::lookup(code).filter(|_| self.links)?;
        self.page(&format!("errors/{code}.md"), entry.page)
    }

    /// The header of a weight file that the program at `uri` names.
    pub fn stored(&self, uri: &Uri, path: &str) -> Option<Result<Vec<Stored>, spc_base::Diagnostic>> {
        let path = uri::to_path(uri.as_str())?.parent()?.join(path);
        if let Some(known) = self.headers.borrow().get(&path) {
            return known.clone();
        }
        let found = self.host.stored(&path);
        self.headers.borrow_mut().insert(path, found.clone());
        found
    }

    fn forget_headers(&self) {
        self.headers.borrow_mut().clear();
    }
}

struct Server<'h> {
    shared: Shared,
    pages: Pages<'h>,
    documents: BTreeMap<String, Document>,
    snippets: bool,
    /// How long the last check took.
    last_check: Duration,
}

/// Why a request has no answer.
struct Refusal(ErrorCode, String);

type Answer = Result<Value, Refusal>;

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal(ErrorCode::InvalidParams, text.into())
}

/// Serves one client until it says `exit` or goes away. True when it said `shutdown` before.
pub fn run(connection: &Connection, host: &dyn Host) -> bool {
    let pages = Pages { host, pages: RefCell::default(), headers: RefCell::default(), links: false };
    let last_check = Duration::ZERO;
    let mut server = Server {
        shared: Shared::of(host.own_library()),
        pages,
        documents: BTreeMap::new(),
        snippets: false,
        last_check,
    };
    let (mut ready, mut down) = (false, false);
    let mut queue: VecDeque<Message> = VecDeque::new();
    loop {
        queue.extend(connection.receiver.try_iter());
        let message = match queue.pop_front() {
            Some(m) => m,
            None => match server.stale().map(|key| (key, server.pause())) {
                None => match connection.receiver.recv() {
                    Ok(m) => m,
                    Err(_) => return down,
                },
                Some((key, pause)) => match connection.receiver.recv_timeout(pause) {
                    Ok(m) => m,
                    Err(e) if e.is_timeout() => {
                        if !server.publish(connection, &key) {
                            return down;
                        }
                        continue;
                    }
                    Err(_) => return down,
                },
            },
        };
        let answer = match message {
            Message::Notification(n) if n.method == Exit::METHOD => return down,
            Message::Notification(n) => {
                if ready && !down {
                    server.notified(connection, n);
                }
                continue;
            }
            Message::Response(_) => continue,
            Message::Request(r) => {
                queue.extend(connection.receiver.try_iter());
                let id = r.id.clone();
                let result = if r.method == rq::Shutdown::METHOD && ready {
                    down = true;
                    Ok(Value::Null)
                } else if down {
                    Err(Refusal(ErrorCode::InvalidRequest, "the server is shut down".into()))
                } else if r.method == rq::Initialize::METHOD {
                    if ready {
                        Err(Refusal(ErrorCode::InvalidRequest, "the server was initialised before".into()))
                    } else {
                        let result = server.initialize(r);
                        ready = result.is_ok();
                        result
                    }
                } else if !ready {
                    Err(Refusal(ErrorCode::ServerNotInitialized, "`initialize` comes first".into()))
                } else if cancelled(&queue, &r.id) {
                    Err(Refusal(ErrorCode::RequestCanceled, "cancelled".into()))
                } else {
                    server.guarded(r)
                };
                match result {
                    Ok(value) => Response { id, response_result: Ok(value) },
                    Err(Refusal(code, text)) => Response::new_err(id, code as i32, text),
                }
            }
        };
        if connection.sender.send(answer.into()).is_err() {
            return down;
        }
    }
}

/// Whether a message further back in the queue takes a request back.
fn cancelled(queue: &VecDeque<Message>, id: &RequestId) -> bool {
    queue.iter().any(|m| match m {
        Message::Notification(n) if n.method == Cancel::METHOD => {
            serde_json::from_value::<RequestId>(n.params.get("id").cloned().unwrap_or_default()).ok().as_ref()
                == Some(id)
        }
        _ => false,
    })
}

fn json(value: impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(|e| Refusal(ErrorCode::InternalError, e.to_string()))
}

fn params<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|e| invalid(e.to_string()))
}

impl Server<'_> {
    fn initialize(&mut self, r: Request) -> Answer {
        let p: InitializeParams = params(r.params)?;
        let text = p.capabilities.text_document.unwrap_or_default();
        let item = text.completion.and_then(|c| c.completion_item);
        self.snippets = item.and_then(|i| i.snippet_support).unwrap_or(false);
        self.pages.links = text.publish_diagnostics.and_then(|d| d.code_description_support).unwrap_or(false);
        let info = ServerInfo { name: "spc".into(), version: Some(env!("CARGO_PKG_VERSION").into()) };
        json(InitializeResult { capabilities: capabilities(), server_info: Some(info) })
    }

    // ---- diagnostics

    /// An open file whose diagnostics are older than its text.
    fn stale(&self) -> Option<String> {
        self.documents.iter().find(|(_, d)| d.stale).map(|(k, _)| k.clone())
    }

    /// How long to wait for newer text before checking.
    fn pause(&self) -> Duration {
        if self.last_check <= FAST { Duration::ZERO } else { self.last_check.min(LONGEST_PAUSE) }
    }

    /// Checks a file and sends what is found; false when nobody listens.
    fn publish(&mut self, connection: &Connection, key: &str) -> bool {
        let Some(d) = self.documents.get_mut(key) else { return true };
        d.stale = false;
        let start = Instant::now();
        let (shared, pages) = (&self.shared, &self.pages);
        let found = catch_unwind(AssertUnwindSafe(|| {
            let a = d.analysis(shared);
            let list = diagnostics::all(&a, shared, pages, &d.uri);
            list.iter().map(|x| diagnostics::shown(x, &a, shared, pages, &d.uri)).collect::<Vec<_>>()
        }));
        self.last_check = start.elapsed();
        // A check that fails says nothing; the command line reports such failures of ours.
        let Ok(diagnostics) = found else { return true };
        let p = PublishDiagnosticsParams { uri: d.uri.clone(), diagnostics, version: Some(d.version) };
        connection.sender.send(Notification::new(PublishDiagnostics::METHOD.into(), p).into()).is_ok()
    }

    // ---- notifications

    /// What cannot be read is passed over: there is no answer to a notification.
    fn notified(&mut self, connection: &Connection, n: Notification) {
        match n.method.as_str() {
            DidOpenTextDocument::METHOD => {
                if let Ok(p) = serde_json::from_value::<DidOpenTextDocumentParams>(n.params) {
                    let t = p.text_document;
                    self.documents.insert(t.uri.as_str().to_string(), Document::open(t.uri, t.version, t.text));
                }
            }
            DidChangeTextDocument::METHOD => {
                if let Ok(p) = serde_json::from_value::<DidChangeTextDocumentParams>(n.params)
                    && let Some(d) = self.documents.get_mut(p.text_document.uri.as_str())
                {
                    d.change(p.text_document.version, p.content_changes);
                }
            }
            DidSaveTextDocument::METHOD => {
                self.pages.forget_headers();
                if let Ok(p) = serde_json::from_value::<DidSaveTextDocumentParams>(n.params)
                    && let Some(d) = self.documents.get_mut(p.text_document.uri.as_str())
                {
                    match p.text {
                        Some(text) => d.replace(text),
                        None => d.forget(),
                    }
                }
            }
            DidCloseTextDocument::METHOD => {
                if let Ok(p) = serde_json::from_value::<DidCloseTextDocumentParams>(n.params)
                    && self.documents.remove(p.text_document.uri.as_str()).is_some()
                {
                    let uri = p.text_document.uri;
                    let none = PublishDiagnosticsParams { uri, diagnostics: Vec::new(), version: None };
                    let _ = connection.sender.send(Notification::new(PublishDiagnostics::METHOD.into(), none).into());
                }
            }
            _ => {}
        }
    }

    // ---- requests

    /// Answers a request. A failure of ours costs this answer, not the session.
    fn guarded(&mut self, r: Request) -> Answer {
        let method = r.method.clone();
        catch_unwind(AssertUnwindSafe(|| self.request(r))).unwrap_or_else(|_| {
            Err(Refusal(ErrorCode::InternalError, format!("`{method}` failed; this is a bug in spc")))
        })
    }

    fn document(&mut self, uri: &Uri) -> Result<(Rc<Analysis>, Uri), Refusal> {
        let d = self.documents.get_mut(uri.as_str());
        let d = d.ok_or_else(|| invalid(format!("`{}` is not open", uri.as_str())))?;
        Ok((d.analysis(&self.shared), d.uri.clone()))
    }

    fn request(&mut self, r: Request) -> Answer {
        match r.method.as_str() {
            rq::HoverRequest::METHOD => {
                let p: HoverParams = params(r.params)?;
                let at = p.text_document_position_params;
                let (a, _) = self.document(&at.text_document.uri)?;
                json(hover::hover(&a, &self.shared, at.position))
            }
            rq::GotoDefinition::METHOD => {
                let p: GotoDefinitionParams = params(r.params)?;
                let at = p.text_document_position_params;
                let (a, uri) = self.document(&at.text_document.uri)?;
                json(navigate::definition(&a, &self.shared, &self.pages, &uri, at.position))
            }
            rq::References::METHOD => {
                let p: ReferenceParams = params(r.params)?;
                let at = p.text_document_position;
                let (a, uri) = self.document(&at.text_document.uri)?;
                let with = p.context.include_declaration;
                json(navigate::references(&a, &self.shared, &self.pages, &uri, at.position, with))
            }
            rq::DocumentHighlightRequest::METHOD => {
                let p: DocumentHighlightParams = params(r.params)?;
                let at = p.text_document_position_params;
                let (a, _) = self.document(&at.text_document.uri)?;
                json(navigate::highlight(&a, at.position))
            }
            rq::PrepareRenameRequest::METHOD => {
                let at: TextDocumentPositionParams = params(r.params)?;
                let (a, _) = self.document(&at.text_document.uri)?;
                let found = navigate::prepare_rename(&a, at.position).ok();
                json(
                    found
                        .map(|(range, placeholder)| PrepareRenameResponse::RangeWithPlaceholder { range, placeholder }),
                )
            }
            rq::Rename::METHOD => {
                let p: RenameParams = params(r.params)?;
                let at = p.text_document_position;
                let (a, uri) = self.document(&at.text_document.uri)?;
                let edits = navigate::rename(&a, &self.shared, at.position, &p.new_name)
                    .map_err(|why| Refusal(ErrorCode::RequestFailed, why))?;
                json(serde_json::json!({ "changes": { uri.as_str(): edits } }))
            }
            rq::Completion::METHOD => {
                let p: CompletionParams = params(r.params)?;
                let at = p.text_document_position;
                let (a, uri) = self.document(&at.text_document.uri)?;
                json(complete::complete(&a, &self.shared, &self.pages, &uri, at.position, self.snippets))
            }
            rq::Formatting::METHOD => {
                let p: DocumentFormattingParams = params(r.params)?;
                let (a, _) = self.document(&p.text_document.uri)?;
                json(self.format(&a))
            }
            rq::DocumentSymbolRequest::METHOD => {
                let p: DocumentSymbolParams = params(r.params)?;
                let (a, _) = self.document(&p.text_document.uri)?;
                json(outline::symbols(&a))
            }
            rq::FoldingRangeRequest::METHOD => {
                let p: FoldingRangeParams = params(r.params)?;
                let (a, _) = self.document(&p.text_document.uri)?;
                json(outline::folding(&a))
            }
            rq::SemanticTokensFullRequest::METHOD => {
                let p: SemanticTokensParams = params(r.params)?;
                let (a, _) = self.document(&p.text_document.uri)?;
                json(SemanticTokens { result_id: None, data: colours::tokens(&a, &self.shared) })
            }
            rq::CodeActionRequest::METHOD => {
                let p: CodeActionParams = params(r.params)?;
                let (a, uri) = self.document(&p.text_document.uri)?;
                let list = diagnostics::all(&a, &self.shared, &self.pages, &uri);
                let show = |d| diagnostics::shown(d, &a, &self.shared, &self.pages, &uri);
                let shown: Vec<_> = list.iter().map(show).collect();
                json(actions::actions(&a, &uri, &list, &shown, p.range, p.context.only.as_deref()))
            }
            other => Err(Refusal(ErrorCode::MethodNotFound, format!("there is no `{other}`"))),
        }
    }

    /// The whole text in the one style; nothing to do where it has errors or is in it already.
    fn format(&self, a: &Analysis) -> Option<Vec<TextEdit>> {
        if a.library {
            return None;
        }
        let new_text = spc_syntax::format(&a.text, a.index.file, &self.shared.limits).ok()?;
        if *new_text == *a.text {
            return Some(Vec::new());
        }
        Some(vec![TextEdit { range: a.lines.whole(&a.text), new_text }])
    }
}

fn capabilities() -> ServerCapabilities {
    let sync = TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(TextDocumentSyncKind::INCREMENTAL),
        save: Some(TextDocumentSyncSaveOptions::Supported(true)),
        ..TextDocumentSyncOptions::default()
    };
    let completion = CompletionOptions {
        trigger_characters: Some([".", "[", "(", "{", ":", "\"", " "].map(String::from).to_vec()),
        ..CompletionOptions::default()
    };
    let rename = RenameOptions { prepare_provider: Some(true), work_done_progress_options: Default::default() };
    let tokens = SemanticTokensOptions {
        legend: colours::legend(),
        full: Some(SemanticTokensFullOptions::Bool(true)),
        ..SemanticTokensOptions::default()
    };
    let kinds = vec![CodeActionKind::QUICKFIX, CodeActionKind::SOURCE_FIX_ALL];
    ServerCapabilities {
        position_encoding: Some(PositionEncodingKind::UTF16),
        text_document_sync: Some(TextDocumentSyncCapability::Options(sync)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        references_provider: Some(OneOf::Left(true)),
        document_highlight_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(rename)),
        completion_provider: Some(completion),
        document_formatting_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        folding_range_provider: Some(FoldingRangeProviderCapability::Simple(true)),
        semantic_tokens_provider: Some(SemanticTokensServerCapabilities::SemanticTokensOptions(tokens)),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(kinds),
            ..CodeActionOptions::default()
        })),
        ..ServerCapabilities::default()
    }
}
