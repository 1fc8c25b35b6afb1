//! The programs that cores are made of, held open: a file that is replaced on the disk is still the one that was meant.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::process::ServiceFile;
use super::program::Program;

/// See the module.
#[derive(Debug)]
pub struct Binaries {
    own: ServiceFile,
    kept: BTreeMap<u64, io::Result<File>>,
    last: u64,
}

impl Binaries {
    /// The program that the first core is.
    pub fn new(own: ServiceFile) -> Self {
        Self { own, kept: BTreeMap::new(), last: 0 }
    }

    /// Holds the file that lies at a path now. One that cannot be opened is told when it is to be started.
    pub fn keep(&mut self, path: PathBuf) -> Program {
        self.last += 1;
        self.kept.insert(self.last, File::open(&path));
        Program::At { path, number: self.last }
    }

    /// Lets all go but these.
    pub fn keep_only(&mut self, programs: &[&Program]) {
        self.kept.retain(|kept, _| {
            programs
                .iter()
                .any(|program| matches!(program, Program::At { number, .. } if number == kept))
        });
    }

    /// Where a program is started from.
    ///
    /// # Errors
    /// Why its file could not be opened.
    pub fn find(&self, program: &Program) -> io::Result<PathBuf> {
        let Program::At { path, number } = program else {
            return Ok(self.own.path().to_owned());
        };
        match self.kept.get(number) {
            // by our number, not by `self`: an interpreter that opens it once more is another process
            Some(Ok(file)) => {
                Ok(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into())
            }
            Some(Err(error)) => Err(told(path, error)),
            None => Err(told(path, &io::ErrorKind::NotFound.into())),
        }
    }
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_stays_the_one_that_it_was() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("program");
        let mut binaries = Binaries::new(ServiceFile::find(None).expect("always there"));
        std::fs::write(&path, "first").expect("written");
        let first = binaries.keep(path.clone());
        std::fs::remove_file(&path).expect("removed");
        let gone = binaries.keep(path.clone());
        std::fs::write(&path, "second").expect("written");
        let second = binaries.keep(path.clone());

        let read =
            |binaries: &Binaries, program| binaries.find(program).map(std::fs::read_to_string);
        assert_eq!(read(&binaries, &first).expect("kept").expect("read"), "first");
        assert_eq!(read(&binaries, &second).expect("kept").expect("read"), "second");
        let error = binaries.find(&gone).expect_err("it was not there").to_string();
        assert!(error.starts_with(&format!("{}: No such file", path.display())), "{error}");

        binaries.keep_only(&[&second, &Program::Own]);
        assert!(binaries.find(&first).is_err());
        assert_eq!(read(&binaries, &second).expect("kept").expect("read"), "second");
        assert_eq!(
            binaries.find(&Program::Own).expect("always there"),
            Path::new("/proc/self/exe")
        );
    }
}
