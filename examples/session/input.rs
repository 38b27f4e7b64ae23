//! Where commands come from: a script's pipe, read a line at a time, or a person's terminal, where
//! a line can be edited, called back, and kept whole while news are printed above it. Knows no
//! torrents and no commands.

use std::{
    io::{self, BufRead, IsTerminal},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use rustyline::{Config, Editor, ExternalPrinter, error::ReadlineError, history::FileHistory};

use crate::{
    common::{Problem, complain, print},
    run::Event,
};

/// The longest line that is read as one.
const MAX_LINE: u64 = 64 * 1024;
/// Lines that can be called back.
const MAX_HISTORY: usize = 1000;
const PROMPT: &str = "> ";

/// The source of lines.
pub struct Input {
    /// To the thread that reads: the next line may come.
    turns: Sender<()>,
    /// Prints above the line that is being typed.
    printer: Option<Box<dyn ExternalPrinter + Send>>,
    _terminal: Option<Terminal>,
}

impl Input {
    /// Begins to read lines, each when it is its turn, so that a long script waits in its pipe and
    /// not in memory. `folder` keeps what a person has typed.
    pub fn start(events: Sender<Event>, folder: &Path) -> Result<Self, Problem> {
        let (turns, turned) = mpsc::channel();
        let is_person = io::stdin().is_terminal() && io::stdout().is_terminal();
        if !is_person {
            let mut lines = Pipe;
            spawn(turned, events, move || lines.next())?;
            return Ok(Self { turns, printer: None, _terminal: None });
        }
        let terminal = Terminal::save();
        let mut lines = Typed::new(folder.join("history")).map_err(Problem::of)?;
        let printer = lines.editor.create_external_printer().ok();
        let printer = printer.map(|printer| Box::new(printer) as Box<dyn ExternalPrinter + Send>);
        spawn(turned, events, move || lines.next())?;
        Ok(Self { turns, printer, _terminal: terminal })
    }

    /// Lets the next line come.
    pub fn next_line(&self) {
        let _ = self.turns.send(());
    }

    /// Leaves the line that is being typed.
    pub fn leave(&self) {
        if self.printer.is_some() {
            print("\r");
        }
    }

    /// Prints a line that no command has asked for.
    pub fn news(&mut self, line: &str) {
        let printed = self.printer.as_mut().map(|printer| printer.print(format!("{line}\n")));
        if !matches!(printed, Some(Ok(()))) {
            print(line);
        }
    }
}

/// What a source of lines gives: a line, something in its place, or the end.
type Line = Result<String, Problem>;

fn spawn(
    turns: Receiver<()>,
    events: Sender<Event>,
    mut next: impl FnMut() -> Result<Option<Line>, ReadlineError> + Send + 'static,
) -> Result<(), Problem> {
    let read = move || {
        while turns.recv().is_ok() {
            let event = match next() {
                Ok(Some(line)) => Event::Line(line),
                Ok(None) | Err(ReadlineError::Eof | ReadlineError::Interrupted) => {
                    Event::EndOfInput
                }
                Err(e) => {
                    complain(&format!("cannot read the standard input: {e}"));
                    Event::EndOfInput
                }
            };
            let ends = !matches!(event, Event::Line(_));
            if events.send(event).is_err() || ends {
                return;
            }
        }
    };
    thread::Builder::new().name("input".into()).spawn(read).map_err(Problem::of)?;
    Ok(())
}

/// Lines of a file or pipe.
struct Pipe;

impl Pipe {
    fn next(&mut self) -> Result<Option<Line>, ReadlineError> {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        let len = io::Read::take(&mut input, MAX_LINE).read_until(b'\n', &mut line)?;
        if len == 0 {
            return Ok(None);
        }
        if len as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            return Ok(Some(Err(Problem::usage(format!("a line of more than {MAX_LINE} bytes")))));
        }
        Ok(Some(String::from_utf8(line).map_err(|_| Problem::usage("a line that is not UTF-8"))))
    }
}

/// Lines of a person.
struct Typed {
    editor: Editor<(), FileHistory>,
    history: PathBuf,
}

impl Typed {
    fn new(history: PathBuf) -> Result<Self, ReadlineError> {
        let conf = Config::builder()
            .max_history_size(MAX_HISTORY)?
            .auto_add_history(true)
            // A mode of the terminal that would have to be undone however this ends.
            .bracketed_paste(false)
            .build();
        let mut editor = Editor::with_history(conf.clone(), FileHistory::with_config(&conf))?;
        // There is none at the first start, and a torn one is no reason not to begin.
        let _ = editor.load_history(&history);
        Ok(Self { editor, history })
    }

    fn next(&mut self) -> Result<Option<Line>, ReadlineError> {
        let line = self.editor.readline(PROMPT)?;
        if let Err(e) = self.editor.append_history(&self.history) {
            log::info!("the history is not kept: {e}");
        }
        Ok(Some(Ok(line)))
    }
}

/// How the terminal was. It is so again when this is dropped, even if a line is being typed.
struct Terminal(#[cfg(unix)] rustix::termios::Termios);

impl Terminal {
    #[cfg(unix)]
    fn save() -> Option<Self> {
        rustix::termios::tcgetattr(io::stdin()).ok().map(Self)
    }

    #[cfg(not(unix))]
    fn save() -> Option<Self> {
        None
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        #[cfg(unix)]
        let _ =
            rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}
